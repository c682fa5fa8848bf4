"""Resuming and loading, with the shipped configs, upstream mmengine and current torch."""

from pickle import UnpicklingError

import pytest
import torch
from mmengine.logging import HistoryBuffer

HSIC = "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits"
IMSVD = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
TARGET = {
    "model.base_momentum": 0.01,
    "model.head.predictor": {
        "type": "NonLinearNeck",
        "in_channels": 32,
        "hid_channels": 32,
        "out_channels": 32,
        "with_avg_pool": False,
    },
}
AVERAGED = {"custom_hooks": [{"type": "EMAHook", "ema_type": "ExponentialMovingAverage", "momentum": 0.001}]}


def state(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "options"),
    [(IMSVD, {}), (HSIC, {}), (HSIC, TARGET), (HSIC, {**TARGET, **AVERAGED})],
    ids=["IMSVD", "SSL-HSIC", "SSL-HSIC with a target network", "SSL-HSIC with averaged weights"],
)
def test_an_interrupted_run_that_is_resumed_has_its_state_back(small, run, tmp_path, name, options):
    whole = run(small(name, **options))
    before = state(whole)
    again = small(name, **options, resume=True)
    # Nothing is left to train: the runner only loads what the last epoch wrote.
    resumed = run(again)
    assert resumed.iter == 4
    after = state(resumed)
    assert list(before) == list(after)
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, msg=key)
    if name == HSIC:
        assert int(after["head.loss_module._extra_state"]) == 4
        assert resumed.model.head.loss_module.scale != 1
    if options:
        assert int(after["target_net.steps"]) == 4


def test_resuming_goes_on_and_keeps_the_curves(small, run):
    run(small(HSIC, **{"train_cfg.max_epochs": 1}))
    resumed = run(small(HSIC, resume=True))
    assert resumed.epoch == 2
    assert len(resumed.message_hub.get_scalar("train/loss").data[0]) == 4
    assert int(resumed.model.state_dict()["head.loss_module._extra_state"]) == 4


def test_load_from_takes_the_weights_and_starts_anew(small, run, tmp_path):
    first = run(small(IMSVD), tmp_path / "first")
    before = state(first)
    cfg = small(IMSVD, load_from=str(tmp_path / "first" / "epoch_2.pth"), **{"optim_wrapper.optimizer.lr": 0.0})
    second = run(cfg, tmp_path / "second")
    assert second.epoch == 2
    torch.testing.assert_close(second.model.backbone.conv1.weight, before["backbone.conv1.weight"])


def test_a_linear_probe_takes_the_backbone(small, run, tmp_path):
    pretrained = run(small(IMSVD), tmp_path / "pretraining")
    cfg = small("resnet14-w24_1xb256-linear-coslr-30e_digits")
    del cfg.model.neck["in_channels"], cfg.model.neck["hid_channels"], cfg.model.neck["out_channels"]
    cfg.model.head.in_channels = 32
    cfg.model.backbone.init_cfg.checkpoint = str(tmp_path / "pretraining" / "epoch_2.pth")
    cfg.train_cfg.val_interval = 2
    probe = run(cfg, tmp_path / "probe")
    for key, value in pretrained.model.backbone.state_dict().items():
        assert torch.equal(probe.model.backbone.state_dict()[key], value), key
    assert "accuracy/top1" in {key.removeprefix("val/") for key in probe.message_hub.log_scalars}


class OtherAttribute:
    """Pickles as an attribute that no checkpoint of mmengine's asks for."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, "register_statistics")


def test_only_what_mmengine_needs_is_declared_safe(tmp_path):
    torch.save({"meta": OtherAttribute()}, tmp_path / "checkpoint.pth")
    with pytest.raises(UnpicklingError):
        torch.load(tmp_path / "checkpoint.pth")
