"""Choosing images that represent the bins of a variable."""

import numpy as np
from numpy.typing import NDArray

from imsvd_plugins.explain.report import Bins, Examples


def choose_examples(
    bins: Bins,
    certainty: NDArray[np.float16],
    num_bins: int,
    priority: NDArray[np.int64],
    count: int = 8,
) -> list[list[Examples]]:
    """Choose images that represent each bin: the surest, random ones, and a strip from the surest to the least sure.

    A random image is the first in one random order of all images. So each bin's images are a random sample, but all
    bins together use few images, and few thumbnails show them.

    Args:
        bins: ``(N, M)`` bin of each image in each variable.
        certainty: ``(N, M)`` probability of that bin.
        num_bins: Bins ``K`` of a variable.
        priority: ``(N,)`` a random order of the images.
        count: Number of images of each kind; fewer if a bin has fewer.

    Returns:
        ``examples[m][k]`` of variable ``m`` and bin ``k``.
    """
    rank = np.empty(len(priority), dtype=np.int64)
    rank[priority] = np.arange(len(priority))
    found = []
    for column, sureness in zip(bins.T, certainty.T, strict=True):
        # Images by bin, the surest of each bin first; ties in the random order.
        order = np.lexsort((rank, -sureness.astype(np.float32), column))
        ends = np.searchsorted(column[order], np.arange(1, num_bins))
        found.append([_of_bin(images, rank, count) for images in np.split(order, ends)])
    return found


def _of_bin(images: NDArray[np.int64], rank: NDArray[np.int64], count: int) -> Examples:
    """The examples of one bin from its images, the surest first."""
    count = min(count, len(images))
    if count == 0:
        return Examples([], [], [])
    drawn = images[np.argsort(rank[images])[:count]]
    strip = [part[rank[part].argmin()] for part in np.array_split(images, count)]
    return Examples(images[:count].tolist(), drawn.tolist(), [int(image) for image in strip])
