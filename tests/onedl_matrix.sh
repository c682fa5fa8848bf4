#!/usr/bin/env bash
# Runs tests/openmmlab against the maintained forks of OpenMMLab's packages (the extra `onedl`), which have the same module
# names and so need an environment of their own. Not part of the default test run.
#
#     tests/onedl_matrix.sh [FOLDER OF THE ENVIRONMENT]
set -euo pipefail
cd "$(dirname "$0")/.."
environment=${1:-$(mktemp -d)/onedl}

python3 -m venv "$environment"
"$environment/bin/pip" install --quiet --upgrade pip
# onedl-mmcv comes as source; pip builds it where there is no torch, and so without its operators, which are not needed.
"$environment/bin/pip" install --quiet -e ".[onedl,explain]" scikit-learn rich "pytest>=8" hypothesis
"$environment/bin/python" -c "import mmengine, mmcv, mmpretrain; print(mmengine.__version__, mmcv.__version__, mmpretrain.__version__)"
"$environment/bin/python" -m pytest tests/openmmlab -q -p no:cacheprovider
