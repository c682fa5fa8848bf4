"""Many small JPEG images in one file, read like a torchvision dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from imsvd_plugins.data.packed import read_packed


class PackedImages(Dataset[tuple[Any, int]]):
    """Labelled images from one packed file, in the manner of torchvision's datasets.

    The file is a NumPy archive (``.npz``) that holds, for each split, ``{split}_jpeg`` (uint8, all JPEG files end to
    end), ``{split}_offsets`` (where each begins; the last entry is the end) and ``{split}_labels``; and ``classes``,
    their names. The bytes are kept as they are, and an image is decoded when it is asked for.

    Example:
        >>> import io, tempfile
        >>> import numpy as np
        >>> image = io.BytesIO()
        >>> Image.new("RGB", (4, 4), "red").save(image, "JPEG")
        >>> jpeg = np.frombuffer(image.getvalue(), np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "packed.npz"
        ...     np.savez(file, train_jpeg=jpeg, train_offsets=[0, len(jpeg)], train_labels=[1], classes=["blue", "red"])
        ...     dataset = PackedImages(file)
        >>> image, label = dataset[0]
        >>> image.size, dataset.classes[label]
        ((4, 4), 'red')

    Args:
        root: The packed file.
        split: Which part of it, for instance "train" or "test".
        transform: What each image goes through, from a PIL image (RGB) on; None for the PIL image itself.

    Attributes:
        classes: Names of the classes, in the order of their labels.
        targets: Labels of all images.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no packed file, holds no such split, or its arrays do not fit together.
    """

    def __init__(
        self, root: str | Path, split: str = "train", transform: Callable[[Image.Image], Any] | None = None
    ) -> None:
        self.root = Path(root)
        self.transform = transform
        self._packed = read_packed(root, split)
        self.classes = self._packed.classes
        self.targets: list[int] = self._packed.labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        # Also what tells Python's iteration where the end is: a slice beyond it would be an empty file.
        target = self.targets[index]
        image: Any = Image.open(self._packed.file(index)).convert("RGB")
        return (image if self.transform is None else self.transform(image)), target
