"""Many small JPEG images in one file, read like a torchvision dataset."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset


class PackedImages(Dataset[tuple[Any, int]]):
    """Labelled images from one packed file, in the manner of torchvision's datasets.

    The file is a NumPy archive (``.npz``) that holds, for each split, ``{split}_jpeg`` (uint8, all JPEG files end to
    end), ``{split}_offsets`` (where each begins; the last entry is the end) and ``{split}_labels``; and ``classes``,
    their names. The bytes are kept as they are, and an image is decoded when it is asked for.

    Example:
        >>> import tempfile
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
        root = Path(root)
        if not root.is_file():
            raise FileNotFoundError(f"root must be a packed file (.npz) of images; there is no file {str(root)!r}.")
        if not zipfile.is_zipfile(root):
            raise ValueError(f"root must be a packed file (.npz) of images; {str(root)!r} is no NumPy archive.")
        with np.load(root) as file:
            splits = sorted(key.removesuffix("_jpeg") for key in file.files if key.endswith("_jpeg"))
            if splits and split not in splits:
                raise ValueError(f"split must be one of {', '.join(splits)} in {str(root)!r}, got {split!r}.")
            needed = [f"{split}_jpeg", f"{split}_offsets", f"{split}_labels", "classes"]
            missing = [key for key in needed if key not in file.files]
            if missing:
                raise ValueError(f"root must be a packed file of images; {str(root)!r} lacks {', '.join(missing)}.")
            self._jpeg, self._offsets, labels, classes = (file[key] for key in needed)
        if len(self._offsets) != len(labels) + 1 or self._offsets[-1] != len(self._jpeg):
            raise ValueError(
                f"{str(root)!r} is damaged: {split!r} has {len(labels)} labels, {len(self._offsets)} offsets (one more"
                f" is right) up to {self._offsets[-1:]} and {len(self._jpeg)} bytes."
            )
        self.root = root
        self.transform = transform
        self.classes: list[str] = classes.tolist()
        self.targets: list[int] = labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        # Also what tells Python's iteration where the end is: a slice beyond it would be an empty file.
        target = self.targets[index]
        begin, end = self._offsets[:-1][index], self._offsets[1:][index]
        image: Any = Image.open(io.BytesIO(self._jpeg[begin:end])).convert("RGB")
        return (image if self.transform is None else self.transform(image)), target
