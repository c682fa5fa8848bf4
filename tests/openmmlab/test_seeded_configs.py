"""Every pretraining recipe's views are independent of the loader's workers, whatever wraps the dataset."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from imsvd_plugins.openmmlab.shipped_configs import resolve_config, shipped_configs

PRETRAINING = [name for name, path in shipped_configs().items() if path.parent.name in ("imsvd", "ssl_hsic")]
DIGITS = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"


def load(name):
    cfg = Config.fromfile(resolve_config(name))
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.mark.parametrize("name", PRETRAINING)
def test_a_pretraining_recipe_has_seeded_batches(name):
    loader = load(name).train_dataloader
    assert loader.batch_sampler.type == "imsvd_plugins.SeededBatchSampler"
    assert loader.num_workers > 0
    assert "drop_last" not in loader  # torch wants it in the batch sampler


def repeated(dataset):
    return {"type": "RepeatDataset", "times": 2, "dataset": dataset}


def balanced(dataset):
    return {"type": "ClassBalancedDataset", "oversample_thr": 0.12, "dataset": dataset}


def concatenated(dataset):
    return {"type": "ConcatDataset", "datasets": [dataset, dataset]}


@pytest.mark.parametrize("wrap", [dict, repeated, balanced, concatenated])
def test_workers_and_wrappers_do_not_change_the_views(wrap):
    batches = []
    for num_workers in (0, 2):
        config = load(DIGITS).train_dataloader
        config.dataset.indices = 20
        config.dataset = wrap(config.dataset)
        config.update(batch_size=6, num_workers=num_workers, persistent_workers=False)
        loader = Runner.build_dataloader(config, seed=3)
        loader.batch_sampler.sampler.set_epoch(4)
        batches.append([batch["inputs"] for batch in loader])
    for alone, by_workers in zip(*batches, strict=True):
        assert len(alone) == 2
        assert all(torch.equal(*views) for views in zip(alone, by_workers, strict=True))
    views = torch.cat([view for batch in batches[0] for view in batch]).flatten(1)
    # Also of one image that comes twice.
    assert len(views.unique(dim=0)) == len(views)
