"""Resuming and loading, with the shipped configs, upstream mmengine and current torch."""

import re
import subprocess
import sys
from pickle import UnpicklingError

import pytest
import torch
from mmengine.logging import HistoryBuffer

from imsvd_plugins.openmmlab.compatibility.safe_globals import STAND_INS

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


READ_ELSEWHERE = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from mmengine.runner import CheckpointLoader
from mmpretrain.models import build_backbone
checkpoint = CheckpointLoader.load_checkpoint(sys.argv[1], map_location="cpu")
backbone = build_backbone(dict(
    type="mmpretrain.ResNet_CIFAR", depth=18, base_channels=8, stem_channels=16, num_stages=3, strides=(2, 2, 2),
    dilations=(1, 1, 1), out_indices=(2,),
    init_cfg=dict(type="Pretrained", checkpoint=sys.argv[1], prefix="backbone.")))
backbone.init_weights()
assert torch.equal(backbone.conv1.weight, checkpoint["state_dict"]["backbone.conv1.weight"])
assert not any(name.startswith("imsvd_plugins") for name in sys.modules)
print(len(checkpoint["message_hub"]["log_scalars"]["train/loss"]["log_history"]))
"""


def test_programs_that_know_nothing_of_this_package_load_its_checkpoints(small, run, tmp_path):
    run(small(HSIC))
    checkpoint = tmp_path / "epoch_2.pth"
    assert torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint) == []
    finished = subprocess.run(
        [sys.executable, "-c", READ_ELSEWHERE, checkpoint], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split()[-1] == "4"


def test_curves_are_the_same_after_saving_and_loading(small, run, tmp_path):
    before = run(small(HSIC)).message_hub.log_scalars
    after = run(small(HSIC, resume=True)).message_hub.log_scalars
    assert before.keys() == after.keys()
    for name, curve in before.items():
        assert after[name].max_length == curve.max_length
        for was, now in zip(curve.data, after[name].data, strict=True):
            assert was.dtype == now.dtype
            assert was.tolist() == now.tolist()


def test_a_checkpoint_with_mmengines_own_objects_is_read_as_numbers(small, run, tmp_path):
    """A stock config's checkpoint, as the commands read it."""
    cfg = small(HSIC)
    cfg.default_hooks.pop("plain_checkpoint")
    curves = run(cfg).message_hub.log_scalars
    checkpoint = tmp_path / "epoch_2.pth"
    with pytest.raises(UnpicklingError):
        torch.load(checkpoint)
    with torch.serialization.safe_globals(STAND_INS):
        hub = torch.load(checkpoint)["message_hub"]
    for name, curve in curves.items():
        found = hub["log_scalars"][name]
        assert type(found) is HistoryBuffer
        assert [part.tolist() for part in found.data] == [part.tolist() for part in curve.data]
        assert found.mean() == curve.mean()
    # Saved again it is mmengine's own class, not a stand-in.
    torch.save(hub, checkpoint)
    assert not any("imsvd" in name for name in torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint))


def test_importing_this_package_declares_nothing_safe():
    code = (
        "import warnings, torch; warnings.simplefilter('ignore'); declared = torch.serialization.get_safe_globals\n"
        "before = set(declared()); import imsvd_plugins.openmmlab; print(sorted(map(str, set(declared()) - before)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # What is imported of torch declares some classes of its own.
    declared = re.findall(r"<\w+ '?([\w.]+)", finished.stdout)
    assert declared
    assert all(name.startswith("torch.") for name in declared)
