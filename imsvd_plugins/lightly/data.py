"""Data modules that give views to train on and labelled images to evaluate on."""

import os
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.utils import IMAGENET_NORMALIZE
from PIL import Image
from pytorch_lightning import LightningDataModule
from pytorch_lightning.utilities import rank_zero_info
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchvision.datasets import CIFAR10, ImageFolder
from torchvision.transforms import v2 as T

from imsvd_plugins.checks import check_integer
from imsvd_plugins.data.digits import NUM_CLASSES, load_digits
from imsvd_plugins.lightly.errors import SettingsError
from imsvd_plugins.lightly.packed import PackedImages
from imsvd_plugins.lightly.resume.resumable_loader import ResumableLoader
from imsvd_plugins.training.seeded_batches import SeededBatchSampler

Transform = Callable[[Any], Any]

_to_tensor = (T.ToImage(), T.ToDtype(torch.float32, scale=True))
digit_to_tensor = T.Compose([*_to_tensor, T.Normalize([0.5] * 3, [0.5] * 3)])
# A mirrored digit is another one or none, and all are grey: only the pen's slant, place and size vary.
digit_view = T.Compose([T.RandomAffine(15, translate=(0.1, 0.1), scale=(0.8, 1.2), shear=10), digit_to_tensor])
cifar10_to_tensor = T.Compose([*_to_tensor, T.Normalize(**IMAGENET_NORMALIZE)])
folder_to_tensor = T.Compose([T.Resize(256), T.CenterCrop(224), *_to_tensor, T.Normalize(**IMAGENET_NORMALIZE)])


class _ImageDataModule(LightningDataModule):
    """Training images in views, and training and test images with their labels as an evaluation sees them."""

    num_classes: int
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
            # LightningCLI was given their config, plain data by which `imsvd-plugins embed` makes them again.
            self.save_hyperparameters()
        self.transform = transform
        self.val_transform = val_transform
        self.batch_size_per_device = batch_size_per_device
        self.num_workers = num_workers
        # Lightning's name for what seed_everything was given.
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
        devices = self.trainer.world_size if self.trainer else 1
        share = -(-len(self.train_dataset) // devices)  # type: ignore[arg-type]
        if share < self.batch_size_per_device:
            # The last small batch is dropped: there would be nothing to train on, and no word of it.
            raise SettingsError(
                f"batch_size_per_device must be at most a device's share of the training images, {share} of "
                f"{len(self.train_dataset)} on {devices} device(s), got {self.batch_size_per_device}."  # type: ignore[arg-type]
            )

    def train_dataloader(self) -> ResumableLoader:
        """Batches ``(views, labels)``, each image once an epoch but for a last small batch.

        Views are a function of the seed, the epoch and the place in it: see
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
        """What the place in an epoch means, for Lightning's checkpoints: the seed of order and views, and the batch."""
        devices = self.trainer.world_size if self.trainer else 1
        return {"seed": self.seed, "global_batch": self.batch_size_per_device * devices}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the seed of an earlier run: without ``seed_everything`` in the config each run has another."""
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


class CIFAR10DataModule(_ImageDataModule):
    """CIFAR-10, 50,000 training and 10,000 test images of 32 x 32 pixels in 10 classes.

    Args:
        root: Folder of torchvision's copy, which is downloaded if it is not there; or a file
            (``.npz``) of :class:`~imsvd_plugins.lightly.packed.PackedImages`.
        transform: Image to a list of views.
        batch_size_per_device: Images a device and step, at least 2.
        num_workers: Loader processes a device.
        val_transform: Image to the tensor that an evaluation sees; None normalizes as Lightly's transforms do.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If a number is out of range, or the packed file is not there.
    """

    num_classes = 10

    def __init__(
        self,
        root: str,
        transform: Transform,
        batch_size_per_device: int = 512,
        num_workers: int = 8,
        val_transform: Transform | None = None,
    ) -> None:
        super().__init__(transform, val_transform or cifar10_to_tensor, batch_size_per_device, num_workers)
        self.root = Path(root)
        if self.root.suffix == ".npz" and not self.root.is_file():
            raise ValueError(f"root must be a folder or a packed file (.npz) of images; there is no file {root!r}.")

    def prepare_data(self) -> None:
        """Download what is not there, on one process."""
        if self.root.suffix != ".npz":
            CIFAR10(self.root, download=True)

    def _dataset(self, train: bool, transform: Transform) -> Dataset[Any]:
        if self.root.suffix == ".npz":
            return PackedImages(self.root, "train" if train else "test", transform)
        dataset: Dataset[Any] = CIFAR10(self.root, train, transform)
        return dataset


class ImageFolderDataModule(_ImageDataModule):
    """Images in a folder a class, under ``train`` and ``val``: ImageNet, Imagenette or your own.

    Args:
        root: The folder that holds ``train`` and ``val``.
        transform: Image to a list of views.
        batch_size_per_device: Images a device and step, at least 2.
        num_workers: Loader processes a device.
        val_transform: Image to the tensor that an evaluation sees; None resizes to 256 pixels, cuts 224 out of the
            middle, and normalizes as Lightly's transforms do.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If a number is out of range, a folder is missing, or both do not hold the same classes.
    """

    def __init__(
        self,
        root: str,
        transform: Transform,
        batch_size_per_device: int = 256,
        num_workers: int = 8,
        val_transform: Transform | None = None,
    ) -> None:
        super().__init__(transform, val_transform or folder_to_tensor, batch_size_per_device, num_workers)
        self.root = Path(root)
        classes = {}
        for part in ("train", "val"):
            if not (self.root / part).is_dir():
                raise ValueError(f"root must be a folder with train and val in it, got {root!r} without {part}.")
            classes[part] = sorted(entry.name for entry in (self.root / part).iterdir() if entry.is_dir())
        if classes["train"] != classes["val"]:
            differing = sorted(set(classes["train"]) ^ set(classes["val"]))[:5]
            raise ValueError(f"train and val in {root!r} must hold the same classes; these differ: {differing}.")
        self.num_classes = len(classes["train"])

    def _dataset(self, train: bool, transform: Transform) -> Dataset[Any]:
        dataset: Dataset[Any] = ImageFolder(str(self.root / ("train" if train else "val")), transform)
        return dataset


class DigitsDataModule(_ImageDataModule):
    """Scikit-learn's scanned digits, 1,438 training and 359 test images of 16 x 16 pixels; nothing is downloaded.

    The two views vary what a pen does: slant, place and size.

    Args:
        batch_size_per_device: Images a device and step, at least 2.
        num_workers: Loader processes a device.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If a number is out of range.
    """

    num_classes = NUM_CLASSES

    def __init__(self, batch_size_per_device: int = 256, num_workers: int = 1) -> None:
        views = MultiViewTransform([digit_view, digit_view])
        super().__init__(views, digit_to_tensor, batch_size_per_device, num_workers)

    def _dataset(self, train: bool, transform: Transform) -> Dataset[Any]:
        return Digits("train" if train else "test", transform)


class Digits(Dataset[tuple[Any, int]]):
    """The digits as PIL images, for a transform like any other images.

    Args:
        split: "train" or "test".
        transform: From an image to what the dataset gives.
    """

    def __init__(self, split: str, transform: Transform) -> None:
        images, labels = load_digits(split)
        self.images = [Image.fromarray(image) for image in images]
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), self.labels[index]
