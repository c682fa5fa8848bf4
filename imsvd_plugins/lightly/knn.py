"""kNN evaluation during a training."""

from collections.abc import Iterator
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from imsvd_plugins.checks import check_integer, check_positive
from imsvd_plugins.evaluation.knn import knn_accuracy
from imsvd_plugins.lightly.errors import SettingsError

Share = tuple[Tensor, Tensor]  # features (n, d), float32, and labels (n,), of one rank


class KNNCallback(Callback):
    """Logs the top-1 accuracy of a weighted kNN vote on frozen features in each validation: ``val_knn_top1``, 0 to 1.

    The bank of labelled training images comes from the data module's ``bank_dataloader``, which this package's data
    modules have. The queries are the validation images. If ``bank_dataloader`` gives None, there are no labelled images
    and nothing is evaluated. Each image counts once on any number of devices, and each device keeps only its own share
    of the bank.

    Args:
        k: Number of neighbours.
        temperature: Temperature ``T`` of the votes ``exp(cosine / T)``.

    Raises:
        TypeError: If ``k`` is not an integer or ``temperature`` is not a number.
        ValueError: If a number is out of range; when training or validation starts, if there is no bank or it is
            smaller than ``k``.
    """

    def __init__(self, k: int = 20, temperature: float = 0.07) -> None:
        check_integer("k", k, minimum=1)
        check_positive("temperature", temperature)
        self.k = k
        self.temperature = temperature

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raise early if the data module has no bank or one that is too small."""
        if stage not in ("fit", "validate"):
            return
        if not hasattr(getattr(trainer, "datamodule", None), "bank_dataloader"):
            raise SettingsError(
                "KNNCallback needs a data module with a method bank_dataloader() that gives the labelled training "
                "images as an evaluation sees them, such as imsvd_plugins.lightly.data's. Without labels leave "
                "KNNCallback out."
            )
        bank = trainer.datamodule.bank_dataloader()  # type: ignore[attr-defined]
        if bank is None:
            rank_zero_info("KNNCallback has nothing to do, because the data have no labelled images.")
            return
        size = len(bank.dataset)
        if size < self.k:
            raise SettingsError(f"k of KNNCallback must be at most the size of the bank, {size}, got {self.k}.")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discard the last validation's features."""
        self._queries: list[Share] = []
        self._bank: Share | None = None

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Fill the bank. At the epoch's start a weight-averaging callback may not have swapped in its weights yet."""
        if trainer.sanity_checking or batch_idx or dataloader_idx:
            return
        loader = trainer.datamodule.bank_dataloader()  # type: ignore[attr-defined]
        if loader is not None:
            own = _on_device(trainer, _own_share(loader, trainer))
            self._bank = _joined([_see(trainer, pl_module, batch) for batch in own])

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the features of a batch."""
        if self._bank is not None:
            self._queries.append(_see(trainer, pl_module, batch))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the bank vote, then free its memory."""
        if self._bank is None:
            return
        features, labels = _joined(self._queries)
        count = _count_once(trainer, len(labels))
        shares = knn_accuracy(*self._bank, features[:count], labels[:count], [self.k], self.temperature)
        # All ranks have the same number, so the mean that Lightning asks for keeps it.
        pl_module.log("val_knn_top1", shares[self.k], prog_bar=True, sync_dist=True)
        self._queries, self._bank = [], None


@torch.no_grad()
def _see(trainer: Trainer, pl_module: LightningModule, batch: Any) -> Share:
    with trainer.precision_plugin.forward_context():
        features = pl_module(batch[0]).flatten(start_dim=1)
    return features.float(), batch[1]


def _joined(parts: list[Share]) -> Share:
    features, labels = zip(*parts, strict=True)
    return torch.cat(features), torch.cat(labels)


def _on_device(trainer: Trainer, loader: DataLoader[Any]) -> Iterator[Any]:
    for batch in loader:
        yield trainer.precision_plugin.convert_input(trainer.strategy.batch_to_device(batch))


def _own_share(loader: DataLoader[Any], trainer: Trainer) -> DataLoader[Any]:
    """A loader of this rank's images; the ranks' shares are disjoint."""
    if trainer.world_size == 1:
        return loader
    return DataLoader(
        loader.dataset,
        loader.batch_size,
        sampler=range(trainer.global_rank, len(loader.dataset), trainer.world_size),  # type: ignore[arg-type]
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
    )


def _count_once(trainer: Trainer, seen: int) -> int:
    """Number of a rank's first validation images that no other rank has; the sampler pads the end with repeats."""
    loaders: Any = trainer.val_dataloaders
    sampler = getattr(loaders, "sampler", None)
    if not isinstance(sampler, DistributedSampler) or sampler.shuffle:
        return seen
    return min(seen, len(range(trainer.global_rank, len(loaders.dataset), trainer.world_size)))
