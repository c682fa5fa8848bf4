"""A dataset of image files that replaces images which have become unreadable."""

import os
import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from imsvd_plugins.data.image_files import printable_name, read_image

_SUBSTITUTES = 20  # images tried in place of one; if none of them can be read, the folder is gone


class ImageFiles(Dataset[tuple[Any, int]]):
    """Images as ``imsvd-plugins embed`` reads them, each with its label.

    If an image cannot be read, another image of the dataset replaces it, with its own label and always the same one. A
    warning names the unreadable image.

    Args:
        root: A folder.
        files: Names of the images in it.
        labels: A label for each.
        transform: From an image in RGB to the dataset's sample.
    """

    def __init__(
        self, root: str, files: Sequence[str], labels: Sequence[int], transform: Callable[[Image.Image], Any]
    ) -> None:
        self.root = root
        self.files = files
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """The transformed image and its label.

        Raises:
            OSError: If neither the image nor any of its substitutes can be read.
        """
        image, place = self._read(index)
        return self.transform(image), self.labels[place]

    def _read(self, index: int) -> tuple[Image.Image, int]:
        """The image or its first readable substitute, and the index of the image returned."""
        try:
            return read_image(self._path(index)), index
        except Exception as error:  # A damaged file can make a decoder raise anything.
            reason = printable_name(" ".join((str(error) or type(error).__name__).split()))
        # From all over the folder, because damage is often local. The draw leaves the generators of the views alone.
        substitutes = random.Random(index).sample(range(len(self)), min(_SUBSTITUTES, len(self)))
        for place in substitutes:
            try:
                image = read_image(self._path(place))
            except Exception:  # as above
                continue
            warnings.warn(
                f"{printable_name(self._path(index))} cannot be read any more, and another image takes its place: "
                f"{reason}",
                stacklevel=2,
            )
            return image, place
        raise OSError(
            f"{printable_name(self._path(index))} cannot be read, and neither can {len(substitutes)} other images of "
            f"its folder: {reason}"
        )

    def _path(self, index: int) -> str:
        return os.path.join(self.root, self.files[index])


def file_name(dataset: ImageFiles, index: int) -> str:
    """The name of an image in its folder, as a ``LightlyDataset`` asks for it."""
    return dataset.files[index]
