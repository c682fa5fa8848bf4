"""The base of all data modules: views that a resumed training repeats exactly, and loaders for evaluation."""

import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from lightly.transforms.utils import IMAGENET_NORMALIZE
from pytorch_lightning import LightningDataModule
from pytorch_lightning.utilities import rank_zero_info
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchvision.transforms import v2 as T

from imsvd_plugins.checks import check_integer
from imsvd_plugins.lightly.errors import SettingsError
from imsvd_plugins.lightly.resume.resumable_loader import ResumableLoader
from imsvd_plugins.training.seeded_batches import SeededBatchSampler

Transform = Callable[[Any], Any]

to_tensor = (T.ToImage(), T.ToDtype(torch.float32, scale=True))
folder_to_tensor = T.Compose([T.Resize(256), T.CenterCrop(224), *to_tensor, T.Normalize(**IMAGENET_NORMALIZE)])


class ViewsDataModule(LightningDataModule):
    """Views of the training images, and labelled training and test images for evaluation."""

    num_classes: int | None
    train_dataset: Dataset[Any]
    bank_dataset: Dataset[Any]
    val_dataset: Dataset[Any]

    def __init__(
        self, transform: Transform, val_transform: Transform, batch_size_per_device: int, num_workers: int
    ) -> None:
        super().__init__()
        check_integer("batch_size_per_device", batch_size_per_device, minimum=2)
        check_integer("num_workers", num_workers, minimum=0)
        self.save_hyperparameters(ignore=["transform", "val_transform"])
        if "_instantiator" in self.hparams:
            # LightningCLI has their config: plain data from which `imsvd-plugins embed` rebuilds them.
            self.save_hyperparameters()
        self.transform = transform
        self.val_transform = val_transform
        self.batch_size_per_device = batch_size_per_device
        self.num_workers = num_workers
        # Lightning stores seed_everything's seed under this name.
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        self._global_batch_before: int | None = None

    @abstractmethod
    def _dataset(self, train: bool, transform: Transform) -> Dataset[Any]:
        """Labelled images of one part."""

    def setup(self, stage: str) -> None:
        """Open the images."""
        self.train_dataset = self._dataset(True, self.transform)
        self.bank_dataset = self._dataset(True, self.val_transform)
        self.val_dataset = self._dataset(False, self.val_transform)
        self._check_batch_size()

    def _check_batch_size(self) -> None:
        devices = self.trainer.world_size if self.trainer else 1
        share = -(-len(self.train_dataset) // devices)  # type: ignore[arg-type]
        if share < self.batch_size_per_device:
            # The last small batch is dropped, so the training would silently have no data.
            raise SettingsError(
                f"batch_size_per_device must be at most a device's share of the training images, {share} of "
                f"{len(self.train_dataset)} on {devices} device(s), got {self.batch_size_per_device}."  # type: ignore[arg-type]
            )

    def train_dataloader(self) -> ResumableLoader:
        """Batches ``(views, labels)``; each epoch has every image once, except those of a last small batch.

        Views are a function of the seed, the epoch and the position in it: see
        :class:`~imsvd_plugins.training.seeded_batches.SeededBatchSampler`.
        """
        trainer = self.trainer
        sampler: DistributedSampler[Any] = DistributedSampler(
            self.train_dataset,
            num_replicas=trainer.world_size if trainer else 1,
            rank=trainer.global_rank if trainer else 0,
            shuffle=not getattr(trainer, "overfit_batches", 0),  # the trainer sets it when it is made
            seed=self.seed,
        )
        batches = SeededBatchSampler(sampler, self.batch_size_per_device, drop_last=True)
        loader = self._loader(self.train_dataset, batch_sampler=batches)
        return ResumableLoader(loader, trainer, self._global_batch_before)

    def state_dict(self) -> dict[str, Any]:
        """The seed of order and views and the global batch, which give the position in an epoch its meaning."""
        devices = self.trainer.world_size if self.trainer else 1
        return {"seed": self.seed, "global_batch": self.batch_size_per_device * devices}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume with the seed of an earlier run; without ``seed_everything`` in the config each run has its own."""
        if self.seed != state_dict["seed"]:
            rank_zero_info(
                f"The data's order and views go on with the checkpoint's seed {state_dict['seed']}, not with the "
                f"{self.seed} of this run's seed_everything."
            )
        self.seed = state_dict["seed"]
        self._global_batch_before = state_dict.get("global_batch")

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches ``(images, labels)`` of the test images."""
        return self._loader(self.val_dataset, batch_size=self.batch_size_per_device)

    def bank_dataloader(self) -> DataLoader[Any]:
        """Batches ``(images, labels)`` of the training images, as a kNN evaluation's bank."""
        return self._loader(self.bank_dataset, batch_size=self.batch_size_per_device)

    def _loader(self, dataset: Dataset[Any], **batches: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            **batches,
        )
