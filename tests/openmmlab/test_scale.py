"""What gradient accumulation and the automatic learning rate mean for losses of the global batch."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from torch import nn

from imsvd_plugins.commands import train
from imsvd_plugins.openmmlab import shipped_configs

IMSVD = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"


def head():
    return MODELS.build(dict(type="imsvd_plugins.IMSVDHead", loss=dict(type="imsvd_plugins.IMSVDLoss", num_bins=4)))


def weight_after(batches, projector, accumulative_counts):
    projector = copy.deepcopy(projector)
    optimizer = torch.optim.SGD(projector.parameters(), lr=1.0)
    wrapper = OptimWrapper(optimizer, accumulative_counts=accumulative_counts)
    criterion = head()
    wrapper.initialize_count_status(projector, 0, len(batches))
    for views in batches:
        wrapper.update_params(criterion.loss(*(projector(view) for view in views)))
    return projector.weight.detach()


def test_accumulation_is_the_mean_over_small_batches_and_not_the_large_batch():
    """As for every loss that is a statistic of the batch: to see more samples at once takes more devices."""
    projector = nn.Linear(6, 8, bias=False)
    views = torch.randn(2, 16, 6)
    halves = [views[:, :8], views[:, 8:]]
    accumulated = weight_after(halves, projector, 2)
    each = [weight_after([half], projector, 1) for half in halves]
    torch.testing.assert_close(accumulated, sum(each) / 2)
    at_once = weight_after([views], projector, 1)
    assert (accumulated - at_once).abs().max() > 1e-3


@pytest.mark.parametrize(("base", "factor"), [(32, 0.5), (16, 1.0), (4, 4.0)])
def test_the_automatic_learning_rate_follows_the_batch_of_all_devices(small, run, base, factor):
    cfg = small(IMSVD, **{"train_cfg.max_epochs": 1})
    cfg.param_scheduler = []
    before = cfg.optim_wrapper.optimizer.lr
    cfg.auto_scale_lr = dict(enable=True, base_batch_size=base)
    # Accumulation does not enlarge the batch that the loss sees, and it does not enter here either.
    cfg.optim_wrapper.accumulative_counts = 2
    assert run(cfg).optim_wrapper.get_lr()["lr"] == [pytest.approx(before * factor)]


def test_slurm_arguments_reach_mmpretrains_tool_as_they_are(monkeypatch):
    seen = []
    monkeypatch.setattr(train, "_run_tool", lambda tool, argv: seen.append((tool, argv)))
    options = ["--launcher", "slurm", "--work-dir", "here", "--cfg-options", "env_cfg.dist_cfg.port=29501"]
    train.main([IMSVD, *options])
    assert seen == [("train", [str(shipped_configs.resolve_config(IMSVD)), *options])]
