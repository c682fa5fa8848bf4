"""Schedules that take their length from the training."""

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import CosineAnnealingLR, LinearLR
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from torch import nn

from imsvd_plugins.openmmlab.shipped_configs import resolve_config

PEAK = 2.0
START = 1e-4
# Epochs, warm-up, what the cosine takes beside its length; as mmpretrain's own schedulers would be written.
RECIPES = {
    "imsvd_resnet50_8xb256-coslr-100e_in1k": (100, 10, {"eta_min_ratio": 0.001}),
    "imsvd_resnet18_1xb512-coslr-800e_cifar10": (800, 10, {"eta_min_ratio": 0.001}),
    "ssl-hsic_resnet50_16xb256-coslr-1000e_in1k": (1000, 10, {}),
    "imsvd_vit-small-p16_8xb256-coslr-300e_in1k": (300, 40, {}),
    "vit-small-p16_8xb128-coslr-150e_in1k": (150, 5, {"eta_min": 1e-5}),
}


@pytest.fixture(autouse=True)
def _mmpretrain():
    init_default_scope("mmpretrain")


@pytest.fixture
def warned(caplog):
    """What the log warns of."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    logger.removeHandler(caplog.handler)


def build(name, epochs, epoch_length=4, optimizer=None):
    """The schedulers as mmengine's runner builds them."""
    if optimizer is None:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=PEAK)
    found = Config.fromfile(resolve_config(name)).param_scheduler
    return optimizer, [
        PARAM_SCHEDULERS.build(
            {"end": epochs, **config}, default_args={"optimizer": optimizer, "epoch_length": epoch_length}
        )
        for config in found
    ]


def rates(optimizer, schedulers, steps):
    """The rate of each step, and the one after the last."""
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_at_the_shipped_length_they_are_mmengines_to_the_last_bit(name, warned):
    epochs, warm_up, options = RECIPES[name]
    assert Config.fromfile(resolve_config(name)).train_cfg.max_epochs == epochs
    stock = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=PEAK)
    lengths = {"by_epoch": True, "epoch_length": 4}
    start = 1e-3 if "150e" in name else START
    stock_schedulers = [
        LinearLR.build_iter_from_epoch(stock, start_factor=start, begin=0, end=warm_up, **lengths),
        CosineAnnealingLR.build_iter_from_epoch(stock, begin=warm_up, end=epochs, **lengths, **options),
    ]
    optimizer, schedulers = build(name, epochs)
    assert [type(scheduler).__name__ for scheduler in schedulers] == ["WarmUpLR", "CosineAfterWarmUpLR"]
    assert rates(optimizer, schedulers, epochs * 4) == rates(stock, stock_schedulers, epochs * 4)
    assert warned() == []


@pytest.mark.parametrize(("epochs", "epoch_length", "warm_up"), [(1, 8, 4), (10, 4, 20), (3, 1, 0), (1, 1, 0)])
def test_a_warm_up_that_does_not_fit_takes_the_first_half_and_the_log_says_so(epochs, epoch_length, warm_up, warned):
    optimizer, schedulers = build("imsvd_resnet50_8xb256-coslr-100e_in1k", epochs, epoch_length)
    steps = epochs * epoch_length
    asked = f"A warm-up of {10 * epoch_length} iterations does not fit into a training of {steps}"
    assert warned() == [f"{asked}: it is shortened to {warm_up}."]
    found = rates(optimizer, schedulers, steps)
    assert found[0] == pytest.approx(START * PEAK if warm_up else PEAK)
    assert max(found) == found[warm_up] == pytest.approx(PEAK)
    if steps > 8:
        assert found[-1] == pytest.approx(0.001 * PEAK, abs=0.02 * PEAK)


@pytest.mark.parametrize("epochs", [11, 1000])
def test_a_warm_up_that_fits_stays(epochs):
    found = rates(*build("imsvd_resnet50_8xb256-coslr-100e_in1k", epochs), epochs * 4)
    assert found.index(max(found)) in (39, 40)
    assert found[20] == pytest.approx(PEAK / 2, rel=0.03)


def test_a_training_that_resumes_with_the_same_length_goes_on_to_the_last_bit():
    name = "imsvd_resnet18_1xb512-coslr-800e_cifar10"
    optimizer, schedulers = build(name, 40)
    rates(optimizer, schedulers, 70)
    resumed, new = build(name, 40)
    resumed.load_state_dict(optimizer.state_dict())
    for scheduler, old in zip(new, schedulers, strict=True):
        scheduler.load_state_dict(old.state_dict())
    assert rates(resumed, new, 90) == rates(*build(name, 40), 160)[70:]
