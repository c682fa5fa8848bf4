"""Pooling the joint distribution to about as many cells as a screen has pixels."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]


def pooled_joint(joint: Matrix, num_bins: int, pixels: int = 512) -> NDArray[np.uint8]:
    """Pool a joint distribution to about ``pixels`` a side, each block of two variables alike.

    Args:
        joint: ``(MK, MK)``, frequencies that sum to 1 in each block.
        num_bins: Bins ``K`` of a variable.
        pixels: Cells a side; exceeded if there are more than ``pixels / 2`` variables, because a block has at least 2.

    Returns:
        ``(M p, M p)`` with ``p`` cells per side of a block, see :func:`pooled_block`.
    """
    num_variables = len(joint) // num_bins
    cells = min(num_bins, max(2, pixels // num_variables))
    rows = [pooled_block(joint[start : start + num_bins], num_bins, cells) for start in range(0, len(joint), num_bins)]
    return np.concatenate(rows)


def pooled_block(joint: Matrix, num_bins: int, cells: int) -> NDArray[np.uint8]:
    r"""Pool adjacent blocks of two variables to ``cells`` by ``cells`` each.

    The result is the joint distribution of ``cells`` coarser bins, so independent variables stay independent.

    Args:
        joint: ``(K, n K)``, frequencies that sum to 1 in each block.
        num_bins: Bins ``K`` of a variable.
        cells: Cells per side of a block, 2 to ``K``.

    Returns:
        ``(cells, n cells)`` logarithms of the frequency relative to that of independent, equally used bins. 127 stands
        for 0, 254 for ``log2 cells`` (coarse bins that always agree), and 0 for ``-log2 cells`` or less.
    """
    bound = math.log2(cells)
    edges = np.linspace(0, num_bins, cells, endpoint=False).astype(int)
    columns = (np.arange(0, joint.shape[1], num_bins)[:, None] + edges).ravel()
    sums = np.add.reduceat(np.add.reduceat(joint.astype(np.float64), edges, axis=0), columns, axis=1)
    widths = np.diff(edges, append=num_bins)
    pairs = np.outer(widths, np.tile(widths, joint.shape[1] // num_bins))
    ratio = num_bins**2 * sums / pairs
    logarithm = np.log2(ratio, out=np.full_like(ratio, -bound), where=ratio > 0)
    levels: NDArray[np.uint8] = np.rint((np.clip(logarithm / bound, -1, 1) + 1) * 127).astype(np.uint8)
    return levels
