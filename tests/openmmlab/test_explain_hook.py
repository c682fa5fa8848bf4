"""The hook that draws what was learned during pretraining."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from imsvd_plugins.openmmlab import ExplainHook

IMSVD = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
HSIC = "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits"
HOOK = {"type": "imsvd_plugins.ExplainHook", "num_samples": 24, "interval": 2}
NARROW = {IMSVD: {"model.head.loss.num_bins": 8}, HSIC: {"model.head.loss.num_features": 16}}


@pytest.mark.parametrize("config", [IMSVD, HSIC])
def test_each_visual_backend_gets_the_figure_every_few_epochs_and_of_the_last(small, run, tmp_path, config):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    backends = [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}]
    cfg = small(config, custom_hooks=[HOOK], **NARROW[config], **{"train_cfg.max_epochs": 3})
    cfg.visualizer = {"type": "UniversalVisualizer", "vis_backends": backends}
    run(cfg)
    written = sorted(tmp_path.rglob("overview_*.png"))
    assert [file.name for file in written] == ["overview_4.png", "overview_6.png"]
    with Image.open(written[0]) as image:
        assert min(image.size) > 400
    events = EventAccumulator(str(next(tmp_path.rglob("events.out.*")).parent))
    events.Reload()
    assert [image.step for image in events.Images("overview")] == [4, 6]


def test_training_goes_on_as_without_it(small, run, tmp_path):
    without = run(small(IMSVD, **NARROW[IMSVD]), tmp_path / "without")
    with_it = run(small(IMSVD, custom_hooks=[HOOK], **NARROW[IMSVD]), tmp_path / "with")
    for name, value in without.model.state_dict().items():
        assert torch.equal(value, with_it.model.state_dict()[name]), name
    assert with_it.model.training


@pytest.mark.parametrize(("setting", "value"), [("interval", 0), ("interval", 1.5), ("num_samples", 1)])
def test_numbers_out_of_range_are_refused(setting, value):
    with pytest.raises((TypeError, ValueError), match=f"{setting} of ExplainHook must be an int >= "):
        ExplainHook(**{setting: value})


def test_a_pipeline_of_one_view_is_refused(small, run):
    cfg = small(IMSVD, custom_hooks=[HOOK], **NARROW[IMSVD])
    cfg.train_dataloader.dataset.pipeline = [{"type": "PackInputs"}]
    with pytest.raises(ValueError, match="ExplainHook needs two views of each image"):
        run(cfg)


def test_two_ranks_draw_once_what_one_process_draws_of_all_images(small, run, tmp_path):
    """The weights stay, the views are the plain images: what both ranks see together is what one process sees."""
    still = {"optim_wrapper.optimizer.lr": 0.0, "train_dataloader.batch_size": 8, "train_cfg.max_epochs": 1}
    # On the CPU each rank normalises by its own part of the batch; here by nothing.
    still |= {
        f"model.{part}.norm_cfg": {"type": kind, "momentum": 0.0}
        for part, kind in (("backbone", "BN"), ("neck", "BN1d"))
    }
    cfg = small(IMSVD, custom_hooks=[{**HOOK, "num_samples": 32}], **NARROW[IMSVD], **still)
    views = {"type": "MultiView", "num_views": [2], "transforms": [[]]}
    cfg.train_dataloader.dataset.pipeline = [views, {"type": "PackInputs"}]
    cfg.visualizer = {"type": "UniversalVisualizer", "vis_backends": [{"type": "LocalVisBackend"}]}
    run(cfg, tmp_path / "weights")
    cfg.load_from = str(tmp_path / "weights" / "epoch_1.pth")
    run(cfg, tmp_path / "one")
    cfg.dump(tmp_path / "still.py")

    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "imsvd_plugins.cli", "train"]
    command += [str(tmp_path / "still.py"), "--launcher", "pytorch", "--work-dir", str(tmp_path / "two")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (of_one,) = (tmp_path / "one").rglob("overview_*.png")
    (of_two,) = (tmp_path / "two").rglob("overview_*.png")
    assert (of_one.name, of_two.name) == ("overview_4.png", "overview_2.png")
    one, two = (np.asarray(Image.open(file), dtype=float) for file in (of_one, of_two))
    assert np.abs(one - two).mean() < 0.01
