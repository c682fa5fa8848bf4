"""Random views that do not depend on which worker draws them, so that training is exactly repeatable."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import BatchSampler


@dataclass(frozen=True)
class SeededBatch:
    """Indices of a batch. While a data loader iterates over them, it draws each image's views from a seed of their own.

    Afterwards the process's random generators have their former states again.
    """

    indices: list[int]
    key: tuple[int, int]  # seed and epoch
    places: range  # of these images in the epoch, counted over all processes

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  (mmcv draws from it)
        try:
            for index, place in zip(self.indices, self.places, strict=True):
                _seed_generators(*self.key, place)
                yield index
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_rng_state(states[2])


class SeededBatchSampler(BatchSampler):
    """Batches whose images' views depend only on the seed, the epoch and the place in the epoch.

    Training is then the same with any number of loader workers, and an epoch is the same whether or not the run resumed
    at it. Nothing else in the loader changes. The dataset may be any map-style dataset, wrapped or not, except one that
    loads a batch at once by a ``__getitems__`` of its own. Its transforms may draw from Python's, numpy's or torch's
    global generators. An image that comes twice in an epoch has different views each time.

    Args:
        sampler: Gives this process's indices. It has a ``seed`` and, if its epochs differ, an ``epoch``, like
            mmengine's ``DefaultSampler`` and ``InfiniteSampler`` and torch's ``DistributedSampler``.
        batch_size: Images per batch and process.
        drop_last: Whether to drop the last batch if it is smaller.

    Raises:
        TypeError: If ``sampler`` has no seed.
    """

    sampler: Any

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False) -> None:
        if not isinstance(getattr(sampler, "seed", None), int):
            raise TypeError(
                "sampler of SeededBatchSampler must have an integer seed, as torch's DistributedSampler and mmengine's "
                f"DefaultSampler have, got {type(sampler).__name__}."
            )
        super().__init__(sampler, batch_size, drop_last)
        self._to_skip = 0

    def skip(self, num_batches: int) -> None:
        """Begin the next iteration after this many batches, without loading them; the length does not change."""
        self._to_skip = num_batches

    def __iter__(self) -> Iterator[Any]:
        skipped, self._to_skip = self._to_skip, 0
        distributed = dist.is_available() and dist.is_initialized()
        rank, world_size = (dist.get_rank(), dist.get_world_size()) if distributed else (0, 1)
        key = (self.sampler.seed, getattr(self.sampler, "epoch", 0))
        first = rank
        for number, indices in enumerate(super().__iter__()):
            places = range(first, first + world_size * len(indices), world_size)
            first = places.stop
            if number >= skipped:
                yield SeededBatch(indices, key, places)


def _seed_generators(seed: int, epoch: int, place: int) -> None:
    words = [int(word) for word in np.random.SeedSequence((seed % 2**64, epoch, place)).generate_state(4)]
    random.seed(words[0])
    np.random.seed(words[1])  # noqa: NPY002
    # Not torch.manual_seed, which would seed the GPU's generator too.
    torch.default_generator.manual_seed(words[2] << 32 | words[3])
