"""A data loader with which Lightning resumes in the middle of an epoch."""

import math
from collections.abc import Iterator
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch.utils.data import DataLoader

from imsvd_plugins.training.seeded_batches import SeededBatchSampler


class ResumableLoader:
    """Starts an epoch at Lightning's current batch, where a plain loader starts at the first.

    A ``train_dataloader`` of your own may return it too. Lightning does not replace its sampler, so on several devices
    give each device its share yourself, by torch's ``DistributedSampler``.

    Args:
        loader: A loader whose ``batch_sampler`` is a
            :class:`~imsvd_plugins.training.seeded_batches.SeededBatchSampler`.
        trainer: The trainer that iterates over it; None outside a training.
        global_batch_before: Images in a batch of all devices in the training that is resumed; None if unchanged.

    Raises:
        TypeError: If the loader has another batch sampler.
    """

    def __init__(
        self, loader: DataLoader[Any], trainer: Trainer | None = None, global_batch_before: int | None = None
    ) -> None:
        if not isinstance(loader.batch_sampler, SeededBatchSampler):
            raise TypeError(
                "loader of ResumableLoader must have a SeededBatchSampler as its batch_sampler, "
                f"got {type(loader.batch_sampler).__name__}."
            )
        self.loader = loader
        # Lightning sets the epoch of the sampler that it finds here.
        self.batch_sampler = loader.batch_sampler
        self.trainer = trainer
        self._global_batch_before = global_batch_before

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        # A generator, because Lightning requests the iterator before it sets the epoch and counts the batches.
        done = self.trainer.fit_loop.batch_idx + 1 if self.trainer else 0
        now = self.batch_sampler.batch_size * (self.trainer.world_size if self.trainer else 1)
        before = self._global_batch_before or now
        if done and before != now:
            batches, done = done, math.ceil(done * before / now)
            rank_zero_warn(
                f"The checkpoint is from within an epoch, after {batches} batches of {before} images; a batch of all "
                f"devices now has {now}, so the epoch goes on after {done} of these. It may leave out images; later "
                "epochs are whole."
            )
        self.batch_sampler.skip(done)
        yield from self.loader

    def state_dict(self) -> dict[str, Any]:
        """Empty, because Lightning's own count is the state. Without this method it warns that the epoch restarts."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing: see :meth:`state_dict`."""
