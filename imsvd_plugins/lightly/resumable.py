"""A data loader that Lightning's checkpoints know the place of."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from imsvd_plugins.seeded_batches import SeededBatchSampler


class ResumableLoader:
    """Lets Lightning go on in the middle of an epoch, where it would begin the epoch's images again.

    A ``train_dataloader`` of your own may return it too. Lightning takes it as it is, and so leaves its sampler alone:
    on several devices give it each one's share, by torch's ``DistributedSampler``.

    Args:
        loader: Its ``batch_sampler`` is a :class:`~imsvd_plugins.seeded_batches.SeededBatchSampler`.

    Raises:
        TypeError: If it is another.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        if not isinstance(loader.batch_sampler, SeededBatchSampler):
            raise TypeError(
                "loader of ResumableLoader must have a SeededBatchSampler as its batch_sampler, "
                f"got {type(loader.batch_sampler).__name__}."
            )
        self.loader = loader
        # Where Lightning looks for the sampler whose epoch it sets.
        self.batch_sampler = loader.batch_sampler
        self._begin = self._given = 0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        begin, self._begin = self._begin, 0
        return self._batches(begin)

    def _batches(self, begin: int) -> Iterator[Any]:
        # Runs from the first batch on: Lightning asks for the iterator before it sets the epoch.
        self.batch_sampler.skip(begin)
        self._given = begin
        for batch in self.loader:
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch have been given, 0 at its end."""
        return {"batches": self._given % len(self)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next iteration begin after them."""
        self._begin = state_dict["batches"]
