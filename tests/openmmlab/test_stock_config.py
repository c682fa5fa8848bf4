"""A stock config of mmpretrain's, by its installed path, with only its head replaced; each in a fresh process."""

import json
import re
import subprocess
import sys
from pathlib import Path

import mmpretrain
import pytest

TOOLS = Path(mmpretrain.__file__).parent / ".mim"
STOCK = TOOLS / "configs" / "barlowtwins" / "barlowtwins_resnet50_8xb256-coslr-300e_in1k.py"

# A smaller network and other images: two iterations of four digits each. The views have no colour jitter: mmcv's cannot
# change the hue under numpy 2.
SMALLER = """
model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=512, hid_channels=1024, out_channels=1024))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='imsvd_plugins.Digits',
        indices=8,
        size=32,
        pipeline=[
            dict(type='MultiView', num_views=[2], transforms=[_base_.view_pipeline1[1:2]]),
            dict(type='PackInputs'),
        ]))
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
"""


@pytest.mark.parametrize("prefix", ["imsvd_plugins.", ""], ids=["prefixed, no custom_imports", "plain, custom_imports"])
def test_barlow_twins_trains_with_our_head(prefix, tmp_path):
    lines = [f"_base_ = {str(STOCK)!r}", SMALLER.replace("imsvd_plugins.", prefix)]
    loss = f"dict(type='{prefix}IMSVDLoss', num_bins=64)"
    lines.append(f"model['head'] = dict(_delete_=True, type='{prefix}IMSVDHead', loss={loss})")
    if not prefix:
        lines.append("custom_imports = dict(imports=['imsvd_plugins.openmmlab'])")
    config = tmp_path / "config.py"
    config.write_text("\n".join(lines))
    tool = TOOLS / "tools" / "train.py"
    subprocess.run(
        [sys.executable, tool, config, "--work-dir", tmp_path / "work"], check=True, capture_output=True, text=True
    )
    log = next((tmp_path / "work").rglob("*.log")).read_text()
    assert re.search(r"type='LARS'", log)
    scalars = next((tmp_path / "work").rglob("scalars.json")).read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in scalars]
    assert len(losses) == 2
    # A variable's entropy is at most log 64, the joint one of two at most twice that, and an agreement at least 1 / 64.
    assert all(-12.5 < loss < 4.2 for loss in losses)
