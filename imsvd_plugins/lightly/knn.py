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
    """Top-1 accuracy of a weighted kNN vote on frozen features, in each validation, as ``val_knn_top1``, 0 to 1.

    The bank of labelled training images is the data module's ``bank_dataloader``, as this package's have it; the
    queries are the validation images. A data module without labelled images gives None, and nothing is evaluated. Each
    image counts once on any number of devices, and each device keeps its own share of the bank only.

    Args:
        k: Number of neighbours.
        temperature: Temperature ``T`` of the votes ``exp(cosine / T)``.

    Raises:
        TypeError: If ``k`` is no integer or ``temperature`` no number.
        ValueError: If a number is out of range; when training or validation starts, if there is no bank, or one
            smaller than ``k``.
    """

    def __init__(self, k: int = 20, temperature: float = 0.07) -> None:
        check_integer("k", k, minimum=1)
        check_positive("temperature", temperature)
        self.k = k
        self.temperature = temperature

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a data module without a bank, or with too small a one, before work is lost."""
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
        """Begin anew."""
        self._queries: list[Share] = []
        self._bank: Share | None = None

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Fill the bank; not at the epoch's start, when a callback of averaged weights may still have to put them."""
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
        """Let the bank vote, and give the memory back."""
        if self._bank is None:
            return
        features, labels = _joined(self._queries)
        count = _count_once(trainer, len(labels))
        shares = knn_accuracy(*self._bank, features[:count], labels[:count], [self.k], self.temperature)
        # The same number on all ranks; their mean is what Lightning asks for.
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
    """A loader of this rank's images, of which no other rank has one."""
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
    """How many of a rank's first validation images no other rank has: the sampler begins anew at the end."""
    loaders: Any = trainer.val_dataloaders
    sampler = getattr(loaders, "sampler", None)
    if not isinstance(sampler, DistributedSampler) or sampler.shuffle:
        return seen
    return min(seen, len(range(trainer.global_rank, len(loaders.dataset), trainer.world_size)))
