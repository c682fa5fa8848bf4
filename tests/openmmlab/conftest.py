"""Small configs and a runner for them."""

from itertools import count
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from imsvd_plugins.openmmlab.shipped_configs import resolve_config

_numbers = count()


@pytest.fixture(autouse=True)
def _scope_restored():
    """A runner sets the default scope for good."""
    before = DefaultScope.get_current_instance()
    yield
    DefaultScope._instance_dict.clear()
    if before is not None:
        DefaultScope._instance_dict[before.instance_name] = before


@pytest.fixture
def small():
    """A shipped digits config with few images and a narrow network: two iterations an epoch."""

    def load(name, **options):
        cfg = Config.fromfile(resolve_config(name))
        cfg.merge_from_dict(
            {
                "train_dataloader.batch_size": 16,
                "train_dataloader.num_workers": 0,
                "train_dataloader.persistent_workers": False,
                "train_dataloader.dataset.indices": 32,
                "model.backbone.base_channels": 8,
                "model.neck.in_channels": 32,
                "model.neck.hid_channels": 32,
                "model.neck.out_channels": 32,
                "train_cfg.max_epochs": 2,
                "default_hooks.logger.interval": 1,
                "default_hooks.checkpoint.interval": 1,
                "custom_hooks": [],
                **options,
            }
        )
        return cfg

    return load


@pytest.fixture
def run(tmp_path):
    """Trains a config and returns the runner."""

    def train(cfg, work_dir: Path = tmp_path):
        cfg.work_dir = str(work_dir)
        # mmengine keeps what it logs by this name, for the whole process.
        cfg.experiment_name = f"test-{next(_numbers)}"
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    return train
