"""mmengine's runner with a pre-flight check."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.runner import Runner
from torch import nn

from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.evaluation.mode import bare_model
from imsvd_plugins.openmmlab.training.array_preflight import check_array_folders
from imsvd_plugins.openmmlab.training.folders import with_folders
from imsvd_plugins.openmmlab.training.preflight import check_batches, check_config, check_model, check_schedules


class CheckedRunner(Runner):
    """mmengine's Runner, which checks config, model and data before it trains.

    A mistake that would fail in the first step or after the first epoch, or train zero steps, raises an error of one
    line that names the key. Set ``runner_type='imsvd_plugins.CheckedRunner'`` in a config; mmpretrain's own tools obey
    it. The shipped configs have it, and ``imsvd-plugins train`` adds it to configs that name no runner.
    """

    @classmethod
    def from_cfg(cls, cfg: Any) -> "CheckedRunner":
        """Build a runner like mmengine's, from a config in which one option may set all image folders."""
        runner: CheckedRunner = super().from_cfg(with_folders(cfg))
        return runner

    def train(self) -> nn.Module:
        """Check, then train like mmengine's Runner.

        Raises:
            ConfigValueError: If the training cannot work.
        """
        check_model(bare_model(self), self.cfg.get("model"))
        check_config(self.cfg)
        check_array_folders(self.cfg, bare_model(self), Path(self.work_dir))
        model: nn.Module = super().train()
        return model

    def build_train_loop(self, loop: Any) -> Any:
        """Build loop and data loader; raises a ConfigValueError if there is nothing to train on."""
        with _naming("train_dataloader.dataset"):
            loop = super().build_train_loop(loop)
        check_batches(loop.dataloader, self.model, self.world_size)
        check_schedules(self.cfg, by_epoch=False, name="iterations", length=loop.max_iters)
        return loop

    def build_val_loop(self, loop: Any) -> Any:
        """Build loop and data loader; raises a ConfigValueError if images cannot be read."""
        with _naming("val_dataloader.dataset"):
            return super().build_val_loop(loop)


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Name the dataset whose file is missing."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise ConfigValueError(f"{key}: {error}") from error
