"""The joint distribution's rows divided among the ranks: a rank's compute and memory fall as 1 / W."""

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
    """:func:`joint_entropy` of the global batch. Each rank computes the rows of its share of the variables.

    All ranks receive view b's probabilities; view a's go to the rank that computes their variables' rows. The gradients
    are sent back. The ranks' batches may differ in size, and the number of variables need not be a multiple of ``W``.

    Args:
        p_a: Probabilities ``(n, D)`` of this rank's samples in one view. Overwritten by the gradient of the global
            terms if ``grad_b`` is given.
        p_b: The same in the other view.
        num_bins: Bins ``K`` of a variable.
        num_samples: ``N`` of all ranks together.
        diagonal_weight: Weight of the diagonal term in the gradient.
        off_diagonal_weight: Weight of the off-diagonal term in the gradient.
        grad_b: Tensor to which the gradient of the global terms with respect to ``p_b`` is added; on all ranks or none.
        rows: Each rank's ``n``.
        group: The ranks; None for the default group.

    Returns:
        This rank's part of the terms.
    """
    ranks, rank = len(rows), dist.get_rank(group)
    num_variables = p_a.shape[1] // num_bins
    bounds = [num_variables * r // ranks for r in range(ranks + 1)]
    widths = [(stop - start) * num_bins for start, stop in pairwise(bounds)]
    # Zero rows pad the smaller batches: they add nothing to a product, and every collective gets equal sizes.
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
    """Exchange each rank's ``(n, D)`` for all ranks' samples of this rank's columns, ``(W n, R)``."""
    rows, width = len(x), widths[dist.get_rank(group)]
    sent = torch.cat([part.reshape(-1) for part in torch.split(x, widths, dim=1)])
    received = x.new_empty(len(widths) * rows * width)
    dist.all_to_all_single(received, sent, [rows * width] * len(widths), [rows * w for w in widths], group=group)
    return received.view(len(widths) * rows, width)


def _columns_from_ranks(x: Tensor, widths: list[int], group: ProcessGroup | None) -> Tensor:
    """The inverse: exchange ``(W n, R)`` on each rank for this rank's samples of all columns, ``(n, D)``."""
    rows, width = len(x) // len(widths), widths[dist.get_rank(group)]
    received = x.new_empty(rows * sum(widths))
    dist.all_to_all_single(
        received, x.reshape(-1), [rows * w for w in widths], [rows * width] * len(widths), group=group
    )
    return torch.cat(
        [part.view(rows, w) for part, w in zip(torch.split(received, [rows * w for w in widths]), widths, strict=True)],
        dim=1,
    )
