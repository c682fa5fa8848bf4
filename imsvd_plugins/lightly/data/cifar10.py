"""CIFAR-10, from torchvision's copy or from one packed file."""

from pathlib import Path
from typing import Any

from lightly.transforms.utils import IMAGENET_NORMALIZE
from torch.utils.data import Dataset
from torchvision.datasets import CIFAR10
from torchvision.transforms import v2 as T

from imsvd_plugins.lightly.data.views_data_module import Transform, ViewsDataModule, to_tensor
from imsvd_plugins.lightly.packed import PackedImages

cifar10_to_tensor = T.Compose([*to_tensor, T.Normalize(**IMAGENET_NORMALIZE)])


class CIFAR10DataModule(ViewsDataModule):
    """CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 pixels in 10 classes.

    Args:
        root: Folder of torchvision's copy, which is downloaded if absent; or a file (``.npz``) of
            :class:`~imsvd_plugins.lightly.packed.PackedImages`.
        transform: From an image to a list of views.
        batch_size_per_device: Images per device and step, at least 2.
        num_workers: Loader processes per device.
        val_transform: From an image to the tensor for evaluation; None normalizes as Lightly's transforms do.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range, or the packed file does not exist.
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
        """Download the data on one process if they are absent."""
        if self.root.suffix != ".npz":
            CIFAR10(self.root, download=True)

    def _dataset(self, train: bool, transform: Transform) -> Dataset[Any]:
        if self.root.suffix == ".npz":
            return PackedImages(self.root, "train" if train else "test", transform)
        dataset: Dataset[Any] = CIFAR10(self.root, train, transform)
        return dataset
