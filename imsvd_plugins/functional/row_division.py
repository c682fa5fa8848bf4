"""The joint distribution's rows divided among the ranks: compute and memory fall as one over their number."""

from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor

from imsvd_plugins.distributed import ProcessGroup, all_gather_single, reduce_scatter_single
from imsvd_plugins.functional.joint_entropy import JointEntropy, joint_entropy


def divided_joint_entropy(
    p_a: Tensor,
    p_b: Tensor,
    num_bins: int,
    num_samples: int,
    diagonal_weight: float,
    off_diagonal_weight: float,
    *,
    grad_b: Tensor | None,
    rows: list[int],
    group: ProcessGroup | None,
) -> JointEntropy:
    """:func:`joint_entropy` of the global batch, in which each rank forms the rows of its share of the variables.

    View b's probabilities travel to all ranks, view a's to the rank that has their variables' rows, and the gradients
    travel back. The ranks' batches may differ in size, and the number of ranks need not divide that of variables.

    Args:
        p_a: Probabilities ``(n, D)`` of this rank's samples in one view. Overwritten by the gradient of the global
            terms, if it is wanted.
        p_b: The same in the other view.
        num_bins: Bins ``K`` of a variable.
        num_samples: ``N`` of all ranks together.
        diagonal_weight: Weight of the diagonal term in the gradient.
        off_diagonal_weight: Weight of the off-diagonal term in the gradient.
        grad_b: Where the gradient of the global terms in the other view is added; on all ranks or on none.
        rows: Each rank's ``n``.
        group: The ranks; None for the default group.

    Returns:
        This rank's part of the terms.
    """
    ranks, rank = len(rows), dist.get_rank(group)
    num_variables = p_a.shape[1] // num_bins
    bounds = [num_variables * r // ranks for r in range(ranks + 1)]
    widths = [(stop - start) * num_bins for start, stop in pairwise(bounds)]
    # Rows of zeros fill up the smaller batches: they add nothing to a product, and every collective takes equal sizes.
    padded_a, padded_b = (torch.nn.functional.pad(p, (0, 0, 0, max(rows) - rows[rank])) for p in (p_a, p_b))

    all_b = p_b.new_empty((ranks * len(padded_b), p_b.shape[1]))
    all_gather_single(all_b, padded_b, group)
    own_a = _columns_to_ranks(padded_a, widths, group)
    grad_all_b = None if grad_b is None else torch.zeros_like(all_b)
    own = joint_entropy(
        own_a,
        all_b,
        num_bins,
        num_samples,
        diagonal_weight,
        off_diagonal_weight,
        grad_b=grad_all_b,
        first_variable=bounds[rank],
    )
    if grad_b is not None and grad_all_b is not None:
        own_grad_b = torch.empty_like(padded_b)
        reduce_scatter_single(own_grad_b, grad_all_b, group)
        grad_b.add_(own_grad_b[: rows[rank]])
        p_a.copy_(_columns_from_ranks(own_a, widths, group)[: rows[rank]])
    return own


def _columns_to_ranks(x: Tensor, widths: list[int], group: ProcessGroup | None) -> Tensor:
    """From each rank's ``(n, D)`` to all ranks' samples of this rank's columns, ``(W n, R)``."""
    rows, width = len(x), widths[dist.get_rank(group)]
    sent = torch.cat([part.reshape(-1) for part in torch.split(x, widths, dim=1)])
    received = x.new_empty(len(widths) * rows * width)
    dist.all_to_all_single(received, sent, [rows * width] * len(widths), [rows * w for w in widths], group=group)
    return received.view(len(widths) * rows, width)


def _columns_from_ranks(x: Tensor, widths: list[int], group: ProcessGroup | None) -> Tensor:
    """The way back: from ``(W n, R)`` on each rank to this rank's samples of all columns, ``(n, D)``."""
    rows, width = len(x) // len(widths), widths[dist.get_rank(group)]
    received = x.new_empty(rows * sum(widths))
    dist.all_to_all_single(
        received, x.reshape(-1), [rows * w for w in widths], [rows * width] * len(widths), group=group
    )
    return torch.cat(
        [part.view(rows, w) for part, w in zip(torch.split(received, [rows * w for w in widths]), widths, strict=True)],
        dim=1,
    )
