"""The embedded dataset."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.datasets import BaseDataset

from imsvd_plugins.data.digits import NUM_CLASSES, load_digits


class Digits(BaseDataset):
    """Scikit-learn's scans of handwritten digits, as RGB images. Nothing is downloaded.

    Args:
        split: "train" (1,438 images) or "test" (359).
        size: Height and width in pixels, at least 8.
        pipeline: Transforms; they get ``img`` (uint8, ``(size, size, 3)``) and ``gt_label``.
        **kwargs: As for mmpretrain's ``BaseDataset``.

    Raises:
        ValueError: If ``split`` or ``size`` is out of range.
    """

    METAINFO = {"classes": tuple(str(digit) for digit in range(NUM_CLASSES))}  # noqa: RUF012  (mmengine's idiom)

    def __init__(self, split: str = "train", size: int = 16, pipeline: Sequence[Any] = (), **kwargs: Any) -> None:
        self.split = split
        self.size = size
        super().__init__(ann_file="", pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """All images with their labels."""
        images, labels = load_digits(self.split, self.size)
        return [{"img": img, "gt_label": int(label)} for img, label in zip(images, labels, strict=True)]

    def extra_repr(self) -> list[str]:
        """The lines that mmpretrain prints about the dataset."""
        return [f"Split: \t{self.split}", f"Size: \t{self.size}"]
