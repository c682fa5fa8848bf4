"""Scikit-learn's 1,797 scans of handwritten digits: a real dataset that needs no download."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imsvd_plugins.extras import missing_extra

NUM_CLASSES = 10


def load_digits(split: str, size: int = 16) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load one split of the digits.

    Args:
        split: "train" (1,438 images) or "test" (359, every fifth); the split is fixed.
        size: Height and width in pixels of the returned images, at least 8; the scans are 8 x 8 and enlarged
            bilinearly.

    Returns:
        Images ``(n, size, size, 3)``, grey in three channels, 0 to 255; and labels ``(n,)``, 0 to 9.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If ``split`` or ``size`` is out of range.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}.')
    if size < 8:
        raise ValueError(f"size must be at least 8 pixels, got {size}.")
    try:
        from sklearn import datasets  # noqa: PLC0415  (an extra; and slow to import)
    except ImportError as error:
        raise missing_extra("the digits' dataset", "scikit-learn", "digits") from error
    bunch: Any = datasets.load_digits()
    test = np.arange(len(bunch.target)) % 5 == 4
    chosen = test if split == "test" else ~test
    scans = torch.from_numpy(bunch.images[chosen] / 16).unsqueeze(1)
    enlarged = torch.nn.functional.interpolate(scans, size=(size, size), mode="bilinear")
    images = (enlarged * 255).round().to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
    return images.contiguous().numpy(), bunch.target[chosen].astype(np.int64)
