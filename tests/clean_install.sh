#!/usr/bin/env bash
# What the fast tests can only imitate: the wheel, installed in an environment that has torch alone. Not part of the default
# test run.
#
#     tests/clean_install.sh [FOLDER OF THE ENVIRONMENT]
set -euo pipefail
cd "$(dirname "$0")/.."
environment=${1:-$(mktemp -d)/clean}
wheels=$(mktemp -d)

python3 -m venv "$environment"
"$environment/bin/pip" install --quiet torch
"$environment/bin/pip" wheel --quiet --no-deps --wheel-dir "$wheels" .
"$environment/bin/pip" install --quiet --no-deps "$wheels"/imsvd_plugins-*.whl

cd "$wheels"
"$environment/bin/python" - <<'PYTHON'
import sys
from pathlib import Path

import torch

import imsvd_plugins
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

z = torch.randn(2, 8, 16, requires_grad=True)
(IMSVDLoss(num_bins=4)(*z) + HSICLoss(num_features=16)(*z)).backward()
assert z.grad.isfinite().all()
assert not {"mmengine", "lightly", "matplotlib"} & set(sys.modules)
assert list(Path(imsvd_plugins.__file__).parent.glob(".mim/configs/*/*.py")), "no configs in the wheel"
for host in ("lightly", "openmmlab"):
    try:
        __import__(f"imsvd_plugins.{host}")
    except ImportError as error:
        assert f"pip install 'imsvd_plugins[{host}]'" in str(error), error
    else:
        raise AssertionError(f"{host} is not absent")
print(f"imsvd_plugins {imsvd_plugins.__version__} with torch {torch.__version__} alone: ok")
PYTHON
"$environment/bin/imsvd-plugins" list
