r"""Entropies of the joint distribution of all pairs of latent variables, and their gradient, in one pass over tiles.

The joint distribution ``P = p_a^T p_b / N`` has ``D^2`` entries, 266 MB at the paper's ``D = 8160``, but the loss needs
only two numbers of it. So ``P`` is computed one tile of rows at a time. The gradient with respect to a tile of ``P`` is
a function of that tile alone, so it is computed while the tile is in memory:

.. math::
    P_T = p_{a,T}^\top p_b / N, \qquad G_T = \partial\,\text{loss} / \partial P_T, \qquad
    \partial p_b \mathrel{+}= p_{a,T}\, G_T / N, \qquad \partial p_{a,T} = p_b\, G_T^\top / N

This takes three matrix products, the minimum for an exact method, and the memory of one tile. A tile's columns of
``p_a`` are not needed again, so their gradient overwrites them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# The joint distribution takes the memory of one tile. Each tile reads and writes the gradient of `p_b` once, so a tile
# should not be much smaller than that. Small tiles suit a CPU's caches; large ones need fewer launches on a GPU.
MAX_TILE_BYTES = 64 * 2**20
_MIN_TILE_BYTES = 16 * 2**20
# Number of a tile's elements that stay in a CPU's cache.
_CACHED = 2**19


class JointEntropy(NamedTuple):
    """Result of one pass over rows of the joint distribution.

    Attributes:
        diagonal: Sum of ``P log P`` over these rows' diagonal entries, over ``M``.
        off_diagonal: Sum of ``P log P`` over these rows' blocks of two different variables, over ``M (M - 1)``.
    """

    diagonal: Tensor
    off_diagonal: Tensor


def joint_entropy(
    p_a: Tensor,
    p_b: Tensor,
    num_bins: int,
    num_samples: int,
    diagonal_weight: float,
    off_diagonal_weight: float,
    *,
    grad_b: Tensor | None,
    first_variable: int = 0,
) -> JointEntropy:
    """Entropies of rows of the joint distribution ``P = p_a^T p_b / N``, and the gradient of their weighted sum.

    Args:
        p_a: Probabilities ``(n, R)`` of the rows' variables, in one view. Overwritten by their gradient if ``grad_b``
            is given.
        p_b: Probabilities ``(n, D)`` of all variables, in the other view.
        num_bins: Bins ``K`` of a variable; divides ``R`` and ``D``.
        num_samples: ``N``. Zero rows as padding make ``n`` larger than ``N``; rows that sum several views, smaller.
        diagonal_weight: Weight of the diagonal term in the gradient.
        off_diagonal_weight: Weight of the off-diagonal term in the gradient.
        grad_b: Tensor ``(n, D)`` to which the gradient with respect to ``p_b`` is added; None for no gradient.
        first_variable: Index of the first variable of ``p_a`` among all variables.

    Returns:
        The terms.
    """
    num_rows, dim = p_a.shape[1], p_b.shape[1]
    num_variables = dim // num_bins
    diagonal_share = 1 / num_variables
    off_diagonal_share = 1 / (num_variables * (num_variables - 1)) if num_variables > 1 else 0.0
    tile_bytes = MAX_TILE_BYTES
    if p_b.device.type == "cpu":
        tile_bytes = min(tile_bytes, max(_MIN_TILE_BYTES, 2 * p_b.nbytes))
    tile_rows = max(1, tile_bytes // (dim * p_a.element_size()))
    memory = p_a.new_empty(min(tile_rows, num_rows) * dim)
    diagonal, off_diagonal = [p_a.new_zeros(())], [p_a.new_zeros(())]

    for start, stop, variables in _tiles(num_rows, num_bins, tile_rows):
        rows = stop - start
        p_tile = p_a[:, start:stop]
        tile = memory[: rows * dim].view(rows, dim)
        torch.addmm(tile, p_tile.T, p_b, beta=0, alpha=1 / num_samples, out=tile)

        # The diagonal is read before the gradient overwrites the joint distribution.
        columns = range(first_variable + variables.start, first_variable + variables.stop)
        blocks = _diagonal_blocks(tile, num_bins, columns)
        offset = start + first_variable * num_bins
        diagonal_view = tile[:, offset : offset + rows].diagonal()
        marginals = diagonal_view.clone()
        diagonal.append((marginals * marginals.log()).sum())
        # Blocks of large variables are large too, so they are summed in pieces.
        for piece in torch.split(blocks, max(1, _CACHED // max(1, blocks[0].numel()))):
            off_diagonal.append(-(piece * piece.log()).sum())
        off_diagonal.append(_entropy_to_gradient_(tile.view(-1), off_diagonal_weight * off_diagonal_share))
        if grad_b is None:
            continue

        blocks.zero_()
        diagonal_view.copy_((marginals.log() + 1) * (diagonal_weight * diagonal_share))
        torch.addmm(grad_b, p_tile, tile, alpha=1 / num_samples, out=grad_b)
        torch.addmm(p_tile, p_b, tile.T, beta=0, alpha=1 / num_samples, out=p_tile)

    return JointEntropy(
        torch.stack(diagonal).sum() * diagonal_share, torch.stack(off_diagonal).sum() * off_diagonal_share
    )


def _entropy_to_gradient_(joint: Tensor, weight: float) -> Tensor:
    """Sum of ``P log P`` of a flat ``P``, which is overwritten by the gradient ``weight * (log P + 1)``.

    It works in pieces that stay in the CPU's cache, so that memory is read once and written once. A GPU has no such
    cache, and each piece would cost it three kernel launches.
    """
    on_cpu = joint.device.type == "cpu"
    pieces = torch.split(joint, _CACHED if on_cpu else max(1, len(joint)))
    scaled, total = joint.new_full((), weight), []
    log = torch.empty_like(pieces[0])
    for piece in pieces:
        log_piece = torch.log(piece, out=log[: len(piece)])
        # A CPU's inner product adds half a million numbers one after the other, which loses precision in float32.
        total.append(piece.mul_(log_piece).sum() if on_cpu else piece @ log_piece)
        torch.add(scaled, log_piece, alpha=weight, out=piece)
    return torch.stack(total).sum()


def _tiles(num_rows: int, num_bins: int, tile_rows: int) -> Iterator[tuple[int, int, range]]:
    """Ranges of rows and of their variables: whole variables or, if a variable does not fit, a part of one."""
    # No tile crosses the end of a block, which is all rows if whole variables fit, else the rows of one variable.
    block, unit = (max(num_rows, 1), num_bins) if tile_rows >= num_bins else (num_bins, 1)
    # Tiles are as equal as possible, because the products of a small remainder would be slow.
    most, units = tile_rows // unit, block // unit
    count = -(-units // most)
    for first in range(0, num_rows, block):
        for index in range(count):
            start, stop = (first + units * part // count * unit for part in (index, index + 1))
            yield start, stop, range(start // num_bins, -(-stop // num_bins))


def _diagonal_blocks(tile: Tensor, num_bins: int, variables: range) -> Tensor:
    """A view ``(rows of a variable, K, variables)`` of a tile's blocks of a variable with itself."""
    blocks = tile.view(len(variables), -1, tile.shape[1] // num_bins, num_bins)
    return blocks[:, :, variables.start : variables.stop].diagonal(dim1=0, dim2=2)
