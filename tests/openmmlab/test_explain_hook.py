"""The hook that draws what was learned during pretraining."""

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
    with pytest.raises(ValueError, match=f"{setting} of ExplainHook must be an int >= "):
        ExplainHook(**{setting: value})


def test_a_pipeline_of_one_view_is_refused(small, run):
    cfg = small(IMSVD, custom_hooks=[HOOK], **NARROW[IMSVD])
    cfg.train_dataloader.dataset.pipeline = [{"type": "PackInputs"}]
    with pytest.raises(ValueError, match="ExplainHook needs two views of each image"):
        run(cfg)
