#!/usr/bin/env bash
# Builds the models of mm_configs/benchmarks/dense, gives them a pretraining's weights and lets them train a step and
# predict, with the maintained forks of mmdet and mmseg: the released ones refuse the current mmcv. Needs an environment of
# its own, and a C++ compiler for mmcv's operators, which take a quarter of an hour on one core (MAX_JOBS is how many to
# use). Not part of the default test run.
#
#     tests/tools/dense_configs.sh [FOLDER OF THE ENVIRONMENT]
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=$(realpath -m "${1:-$(mktemp -d)/dense}")
export CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 NO_ALBUMENTATIONS_UPDATE=1

python3 -m venv "$environment"
pip="$environment/bin/pip"
"$pip" install --quiet --upgrade pip
"$pip" install --quiet -e ".[openmmlab]" "setuptools<81" psutil "pytest>=8" pytest-xdist
# The forks install over the same folders. A config whose base is `mmseg::...` is refused where no distribution has the name
# mmsegmentation, which the fork's has not: its metadata stay.
"$pip" uninstall --quiet --yes mmengine mmpretrain
"$pip" install --quiet --no-deps mmsegmentation
"$pip" install --quiet onedl-mmengine onedl-mmpretrain onedl-mmdetection onedl-mmsegmentation "albumentations<2"

sources=$(mktemp -d)
"$pip" download --quiet --no-deps --no-build-isolation --no-binary :all: --dest "$sources" onedl-mmcv
tar --directory "$sources" --strip-components 1 -xf "$sources"/onedl_mmcv-*.tar.gz
# Current torch needs C++20, which mmcv's setup.py does not ask for.
sed -i 's/std=c++17/std=c++20/' "$sources/setup.py"
CFLAGS="-O0 -g0" "$pip" install --quiet --no-deps --no-build-isolation "$sources"

"$environment/bin/python" -c "import mmcv, mmdet, mmseg; print(mmcv.__version__, mmdet.__version__, mmseg.__version__)"
# mmcv with operators warns at import of a class that it has moved.
"$environment/bin/python" -W ignore::ImportWarning -m pytest -W ignore::ImportWarning \
    tests/openmmlab/test_dense_configs.py -q -p no:cacheprovider -rs
