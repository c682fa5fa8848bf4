"""Lightly's kNN evaluation during a training."""

from typing import Any

import torch
from lightly.utils.benchmarking import knn_predict
from lightly.utils.benchmarking.topk import mean_topk_accuracy
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, DistributedSampler

from imsvd_plugins.functional._checks import check_integer, check_positive
from imsvd_plugins.lightly.errors import SettingsError


class KNNCallback(Callback):
    """Top-1 accuracy of Lightly's weighted kNN vote on frozen features, in each validation, as ``val_knn_top1``.

    The bank of labelled training images is the data module's ``bank_dataloader``, as this package's have it; the
    queries are the validation images. Where that gives None there are no labelled images, and nothing is evaluated. On
    several devices Lightning repeats a few of the queries until all have as many, and they count twice.

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

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Fill the bank; not at the epoch's start, when a callback of averaged weights may still have to put them."""
        if trainer.sanity_checking or batch_idx or dataloader_idx:
            return
        self._bank, self._labels = self._features(trainer, pl_module, trainer.datamodule.bank_dataloader())  # type: ignore[attr-defined]
        # Here, because it waits for the device.
        self._num_classes = int(self._labels.max()) + 1

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Let the bank vote on a batch."""
        if trainer.sanity_checking:
            return
        labels = batch[1]
        features = _features_of(trainer, pl_module, batch[0])
        predicted = knn_predict(features, self._bank, self._labels, self._num_classes, self.k, self.temperature)
        top1 = mean_topk_accuracy(predicted, labels, k=(1,))[1]
        pl_module.log("val_knn_top1", top1, prog_bar=True, sync_dist=True, batch_size=len(labels))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the bank's memory back."""
        self._bank = self._labels = torch.empty(0)

    @torch.no_grad()
    def _features(self, trainer: Trainer, pl_module: LightningModule, loader: DataLoader[Any]) -> tuple[Tensor, Tensor]:
        """Normalized features ``(d, n)`` and labels ``(n,)`` of all images, from all ranks."""
        dataset: Any = loader.dataset
        if trainer.world_size > 1:
            sampler: Any = DistributedSampler(dataset, trainer.world_size, trainer.global_rank, shuffle=False)
            loader = DataLoader(
                dataset,
                loader.batch_size,
                sampler=sampler,
                num_workers=loader.num_workers,
                collate_fn=loader.collate_fn,
                pin_memory=loader.pin_memory,
                worker_init_fn=loader.worker_init_fn,
            )
        features, labels = [], []
        for batch in loader:
            images, targets, *_ = trainer.precision_plugin.convert_input(trainer.strategy.batch_to_device(batch))
            features.append(_features_of(trainer, pl_module, images))
            labels.append(targets)
        return _in_order(trainer, pl_module, features, dataset).T, _in_order(trainer, pl_module, labels, dataset)


def _features_of(trainer: Trainer, pl_module: LightningModule, images: Tensor) -> Tensor:
    """Normalized features ``(N, d)`` in float32, computed in the trainer's precision."""
    with trainer.precision_plugin.forward_context():
        features = pl_module(images).flatten(start_dim=1)
    return normalize(features.float(), dim=1)


def _in_order(trainer: Trainer, pl_module: LightningModule, parts: list[Tensor], dataset: Any) -> Tensor:
    """All ranks' rows in the dataset's order: the sampler deals them out one by one, and begins anew at the end."""
    rows = torch.cat(parts)
    if trainer.world_size == 1:
        return rows
    gathered: Any = pl_module.all_gather(rows)
    in_order: Tensor = gathered.transpose(0, 1).flatten(0, 1)[: len(dataset)]
    return in_order
