"""mmpretrain's own configs by their installed path, as they are shipped: pipelines, workers and networks."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import mmpretrain
import numpy as np
import pytest
import sklearn
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from imsvd_plugins.openmmlab.compatibility.hue_jitter import check_hue_jitter

TOOLS = Path(mmpretrain.__file__).parent / ".mim"
CONFIGS = TOOLS / "configs"
STOCK = CONFIGS / "barlowtwins" / "barlowtwins_resnet50_8xb256-coslr-300e_in1k.py"
# The methods whose views have their colours jittered.
METHODS = ("barlowtwins", "byol", "densecl", "mocov2", "mocov3", "simclr", "simsiam", "swav")
PHOTOGRAPH = Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"

WITH_OUR_HEAD = f"""
_base_ = {str(STOCK)!r}
custom_imports = dict(imports=['imsvd_plugins.openmmlab'])
model = dict(head=dict(_delete_=True, type='IMSVDHead', loss=dict(type='IMSVDLoss', num_bins=64)))
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:Only use 'alpha' for pillow backend")
def test_pipeline_runs_on_a_photograph(method):
    pipelines = {}
    for path in sorted((CONFIGS / method).glob("*.py")):
        cfg = Config.fromfile(path)
        check_hue_jitter(cfg)
        pipelines[str(cfg.train_dataloader.dataset.pipeline)] = cfg.train_dataloader.dataset.pipeline
    assert pipelines
    init_default_scope("mmpretrain")
    for text, steps in pipelines.items():
        assert "'hue'" in text
        np.random.seed(0)  # noqa: NPY002  # mmcv's transforms draw from it
        pipeline = Compose(steps)
        # The hue of a view is lowered with a probability of 0.4, and raised with the same.
        for _ in range(8):
            views = pipeline(dict(img_path=str(PHOTOGRAPH)))["inputs"]
            assert len(views) >= 2
            assert all(view.shape[0] == 3 for view in views)


@pytest.mark.slow
def test_barlow_twins_trains_with_our_head_by_its_plain_name(tmp_path):
    """As shipped, on images in ImageNet's layout; only the epochs are fewer and the batch is smaller."""
    runpy.run_path(str(Path(__file__).with_name("fake_data.py")))["write"](tmp_path / "data")
    (tmp_path / "config.py").write_text(WITH_OUR_HEAD)
    options = ["train_cfg.max_epochs=1", "train_dataloader.batch_size=4"]
    tool = [sys.executable, TOOLS / "tools" / "train.py"]
    subprocess.run(
        [*tool, "config.py", "--work-dir", "work", "--cfg-options", *options],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    work_dir = tmp_path / "work"
    assert "type='LARS'" in next(work_dir.rglob("*.log")).read_text()
    scalars = next(work_dir.rglob("scalars.json")).read_text().splitlines()
    (loss,) = (json.loads(line)["loss"] for line in scalars)
    # A variable's entropy is at most log 64, the joint one of two at most twice that, and an agreement at least 1 / 64.
    assert -12.5 < loss < 4.2
    (work_dir / "epoch_1.pth").unlink()  # 1.4 GB
