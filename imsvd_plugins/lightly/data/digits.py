"""Scikit-learn's digits, which need no download."""

from typing import Any

from lightly.transforms.multi_view_transform import MultiViewTransform
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms import v2 as T

from imsvd_plugins.data.digits import NUM_CLASSES, load_digits
from imsvd_plugins.lightly.data.views_data_module import Transform, ViewsDataModule, to_tensor

digit_to_tensor = T.Compose([*to_tensor, T.Normalize([0.5] * 3, [0.5] * 3)])
# A mirrored digit is another digit or none, and all are grey, so only the pen's slant, place and size vary.
digit_view = T.Compose([T.RandomAffine(15, translate=(0.1, 0.1), scale=(0.8, 1.2), shear=10), digit_to_tensor])


class DigitsDataModule(ViewsDataModule):
    """Scikit-learn's scanned digits: 1,438 training and 359 test images of 16 x 16 pixels. Nothing is downloaded.

    The two views vary the pen's slant, place and size.

    Args:
        batch_size_per_device: Images per device and step, at least 2.
        num_workers: Loader processes per device.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range.
    """

    num_classes = NUM_CLASSES

    def __init__(self, batch_size_per_device: int = 256, num_workers: int = 1) -> None:
        views = MultiViewTransform([digit_view, digit_view])
        super().__init__(views, digit_to_tensor, batch_size_per_device, num_workers)

    def _dataset(self, train: bool, transform: Transform) -> Dataset[Any]:
        return Digits("train" if train else "test", transform)


class Digits(Dataset[tuple[Any, int]]):
    """The digits as PIL images, so that any image transform applies.

    Args:
        split: "train" or "test".
        transform: From an image to the dataset's sample.
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
