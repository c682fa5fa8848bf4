"""Labelled images in one folder per class."""

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder

from imsvd_plugins.lightly.data.views_data_module import Transform, ViewsDataModule, folder_to_tensor


class ImageFolderDataModule(ViewsDataModule):
    """Images in one folder per class, under ``train`` and ``val``: ImageNet, Imagenette or your own.

    Args:
        root: The folder that holds ``train`` and ``val``.
        transform: From an image to a list of views.
        batch_size_per_device: Images per device and step, at least 2.
        num_workers: Loader processes per device.
        val_transform: From an image to the tensor for evaluation; None resizes to 256 pixels, crops the central 224,
            and normalizes as Lightly's transforms do.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range, a folder is missing, or the two folders hold different classes.
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
