"""Many small JPEG images in one file, read like a torchvision dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from imsvd_plugins.data.packed import read_packed


class PackedImages(Dataset[tuple[Any, int]]):
    """Labelled images from one packed file, with the interface of torchvision's datasets.

    The file is a NumPy archive (``.npz``). For each split it holds ``{split}_jpeg`` (uint8, all JPEG files end to end),
    ``{split}_offsets`` (where each begins; the last entry is the end) and ``{split}_labels``. ``classes`` holds the
    class names. The bytes stay compressed, and an image is decoded when it is requested.

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
        split: A part of the file, for instance "train" or "test".
        transform: Applied to each PIL image (RGB); None for the PIL image itself.

    Attributes:
        classes: Names of the classes, in the order of their labels.
        targets: Labels of all images.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a packed file, lacks the split, or its arrays do not fit together.
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
        # Its IndexError also ends Python's iteration; a slice beyond the end would be an empty file.
        target = self.targets[index]
        image: Any = Image.open(self._packed.file(index)).convert("RGB")
        return (image if self.transform is None else self.transform(image)), target
