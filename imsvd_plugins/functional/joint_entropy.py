r"""The joint distribution of all pairs of latent variables, streamed: its entropies and their gradient in one pass.

The joint distribution ``P = p_a^T p_b / N`` has ``D^2`` entries, 266 MB at the paper's ``D = 8160``; what is wanted of
it are two numbers. So ``P`` is formed a tile of rows at a time, and because the gradient with respect to ``P`` is a
function of the tile alone, the tile's part of the gradient is formed while the tile is there:

.. math::
    P_T = p_{a,T}^\top p_b / N, \qquad G_T = \partial\,\text{loss} / \partial P_T, \qquad
    \partial p_b \mathrel{+}= p_{a,T}\, G_T / N, \qquad \partial p_{a,T} = p_b\, G_T^\top / N

Three matrix products in all, which is the least that an exact method can do, and one tile of memory: a tile's
columns of ``p_a`` are not wanted again, so that their gradient takes their place.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# A tile is all the memory that the joint distribution takes. The gradient of `p_b` is read and written once a tile, so
# that a tile should not be much smaller than that; a CPU's caches profit from a small one, a GPU from few launches.
MAX_TILE_BYTES = 64 * 2**20
_MIN_TILE_BYTES = 16 * 2**20
# Elements of a tile that stay in a processor's cache.
_CACHED = 2**19


class JointEntropy(NamedTuple):
    """What one pass over rows of the joint distribution gives.

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
        p_a: Probabilities ``(n, R)`` of the variables whose rows these are, in one view. Overwritten by their gradient,
            if it is wanted.
        p_b: Probabilities ``(n, D)`` of all variables, in the other view.
        num_bins: Bins ``K`` of a variable; divides ``R`` and ``D``.
        num_samples: ``N``. Rows of zeros may make ``n`` larger, sums of several views in a row smaller.
        diagonal_weight: Weight of the diagonal term in the gradient.
        off_diagonal_weight: Weight of the off-diagonal term in the gradient.
        grad_b: Where the gradient with respect to ``p_b`` is added, ``(n, D)``; ``None`` if no gradient is wanted.
        first_variable: Index among all variables of the first in ``p_a``.

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

        # What lies on the diagonal, before the gradient takes the place of the joint distribution.
        columns = range(first_variable + variables.start, first_variable + variables.stop)
        blocks = _diagonal_blocks(tile, num_bins, columns)
        offset = start + first_variable * num_bins
        diagonal_view = tile[:, offset : offset + rows].diagonal()
        marginals = diagonal_view.clone()
        diagonal.append((marginals * marginals.log()).sum())
        # Where variables are large, so are their blocks: by pieces too.
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

    By pieces that stay in the processor's cache, so that the memory is read once and written once. A GPU has no such
    cache, and each piece would cost it three launches.
    """
    on_cpu = joint.device.type == "cpu"
    pieces = torch.split(joint, _CACHED if on_cpu else max(1, len(joint)))
    scaled, total = joint.new_full((), weight), []
    log = torch.empty_like(pieces[0])
    for piece in pieces:
        log_piece = torch.log(piece, out=log[: len(piece)])
        # A CPU's inner product adds up half a million numbers one after the other, which costs float32 its digits.
        total.append(piece.mul_(log_piece).sum() if on_cpu else piece @ log_piece)
        torch.add(scaled, log_piece, alpha=weight, out=piece)
    return torch.stack(total).sum()


def _tiles(num_rows: int, num_bins: int, tile_rows: int) -> Iterator[tuple[int, int, range]]:
    """Ranges of rows, each of whole variables or, where one does not fit, of a part of one; and of which variables."""
    # No tile reaches over the end of a block: all rows where whole variables fit, else those of one variable.
    block, unit = (max(num_rows, 1), num_bins) if tile_rows >= num_bins else (num_bins, 1)
    # As equal as they can be: the products of a small remainder would be slow.
    most, units = tile_rows // unit, block // unit
    count = -(-units // most)
    for first in range(0, num_rows, block):
        for index in range(count):
            start, stop = (first + units * part // count * unit for part in (index, index + 1))
            yield start, stop, range(start // num_bins, -(-stop // num_bins))


def _diagonal_blocks(tile: Tensor, num_bins: int, variables: range) -> Tensor:
    """A view ``(rows of a variable, K, variables)`` of the blocks in which a tile's variables meet themselves."""
    blocks = tile.view(len(variables), -1, tile.shape[1] // num_bins, num_bins)
    return blocks[:, :, variables.start : variables.stop].diagonal(dim1=0, dim2=2)
