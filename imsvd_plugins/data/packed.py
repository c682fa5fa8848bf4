"""Many small JPEG images in one file."""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class PackedSplit(NamedTuple):
    """One split of a packed file, not decoded.

    Attributes:
        jpeg: All JPEG files end to end, uint8.
        offsets: Start of each file ``(n + 1,)``; the last entry is the end.
        labels: Labels ``(n,)``.
        classes: Names of the classes, in the order of their labels.
    """

    jpeg: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: list[str]

    def file(self, index: int) -> io.BytesIO:
        """The JPEG file of an image.

        Raises:
            IndexError: If there is no such image.
        """
        begin, end = self.offsets[:-1][index], self.offsets[1:][index]
        return io.BytesIO(self.jpeg[begin:end])  # type: ignore[arg-type]  # an array is a buffer


def packed_splits(root: str | Path) -> list[str]:
    """Names of the splits of a packed file, in the file's order; empty if it is another kind of archive.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a NumPy archive.
    """
    root = Path(root)
    if not root.is_file():
        raise FileNotFoundError(f"root must be a packed file (.npz) of images; there is no file {str(root)!r}.")
    if not zipfile.is_zipfile(root):
        raise ValueError(f"root must be a packed file (.npz) of images; {str(root)!r} is no NumPy archive.")
    with np.load(root) as file:
        return [key.removesuffix("_jpeg") for key in file.files if key.endswith("_jpeg")]


def read_packed(root: str | Path, split: str) -> PackedSplit:
    """Read one split of a packed file, without decoding it.

    The file is a NumPy archive (``.npz``) that holds, for each split, ``{split}_jpeg`` (uint8, all JPEG files end to
    end), ``{split}_offsets`` (where each begins; the last entry is the end) and ``{split}_labels``; and ``classes``,
    the names of the labels.

    Args:
        root: The packed file.
        split: Name of the split, for instance "train" or "test".

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a packed file, holds no such split, or its arrays do not fit together.
    """
    splits = sorted(packed_splits(root))
    if splits and split not in splits:
        raise ValueError(f"split must be one of {', '.join(splits)} in {str(root)!r}, got {split!r}.")
    with np.load(root) as file:
        needed = [f"{split}_jpeg", f"{split}_offsets", f"{split}_labels", "classes"]
        missing = [key for key in needed if key not in file.files]
        if missing:
            raise ValueError(f"root must be a packed file of images; {str(root)!r} lacks {', '.join(missing)}.")
        jpeg, offsets, labels, classes = (file[key] for key in needed)
    if len(offsets) != len(labels) + 1 or offsets[-1] != len(jpeg):
        raise ValueError(
            f"{str(root)!r} is damaged: {split!r} has {len(labels)} labels, {len(offsets)} offsets (one more"
            f" is right) up to {offsets[-1:]} and {len(jpeg)} bytes."
        )
    return PackedSplit(jpeg, offsets, labels, classes.tolist())
