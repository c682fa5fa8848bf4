"""IMSVD: Information-Maximized Soft Variable Discretization (Niu et al. 2025, arXiv 2501.03469)."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from imsvd_plugins.checks import check_non_negative, check_positive
from imsvd_plugins.distributed import GroupOrMesh, ProcessGroup, all_reduce_sum
from imsvd_plugins.functional._checks import full_precision, global_batch
from imsvd_plugins.functional.discretization import check_num_bins, chunk_rows, discretization_gradient_, discretize
from imsvd_plugins.functional.joint_entropy import JointEntropy, joint_entropy
from imsvd_plugins.functional.row_division import divided_joint_entropy
from imsvd_plugins.functional.view_pairs import stack_pairs, unstack_gradients


class IMSVDTerms(NamedTuple):
    """The objective and its terms, all scalars in nats. Only ``loss`` carries a gradient; the terms are unweighted.

    Attributes:
        loss: Weighted sum of the terms.
        diagonal: At best ``-log K``: each variable uses its bins equally, in the same way in both views.
        off_diagonal: Negative mean joint entropy of two variables. It is at best ``-2 log K``; with one-hot codes it is
            never below ``-log N``.
        invariance: At best 0: both views of a sample fall into the same bins with certainty.
    """

    loss: Tensor
    diagonal: Tensor
    off_diagonal: Tensor
    invariance: Tensor


def imsvd_loss(
    z_views: Sequence[Tensor] | Tensor,
    num_bins: int,
    *,
    temperature: float = 1.0,
    diagonal_weight: float = 1.0,
    off_diagonal_weight: float = 1.0,
    invariance_weight: float = 1.0,
    gather_distributed: bool = False,
    process_group: GroupOrMesh | None = None,
) -> IMSVDTerms:
    r"""The IMSVD objective for two or more views of a batch.

    With the probabilities :math:`p^a, p^b` of the two views and the blocks :math:`P^{(m m')}` of the joint distribution
    :math:`P = p_a^\top p_b / N` of variable ``m`` of view a and ``m'`` of view b,

    .. math::
        \text{diagonal} = \frac{1}{M} \sum_i P_{ii} \log P_{ii}, \qquad
        \text{off\_diagonal} = \frac{1}{M (M - 1)} \sum_{m \neq m'} \sum_{kl} P^{(m m')}_{kl} \log P^{(m m')}_{kl}

        \text{loss} = w_\text{dia}\, \text{diagonal} + w_\text{off}\, \text{off\_diagonal}
                      - w_\text{inv}\, \operatorname{mean}_{nm} \log \sum_k p^a_{nmk}\, p^b_{nmk}

    More than two views extend the paper: ``P`` is then the average of the joint distributions of all pairs a < b, and
    the invariance is averaged over the pairs too. The cost is ``V - 1`` times that of two views.

    The off-diagonal entries inside a diagonal block are ignored; with ``M = 1`` the off-diagonal term is 0.

    ``P`` is never stored as a whole. Value and gradient are computed together, one tile of its rows at a time, in
    little more than the time of three matrix products; the backward pass is a multiplication. The loss is computed in
    float32 (float64 for float64 inputs), also inside autocast. It supports neither second derivatives nor the
    transforms of ``torch.func``.

    Args:
        z_views: Two or more projector outputs ``(N, D)``, any floating dtype. The order of two views does not matter.
        num_bins: Bins ``K`` of a variable, at least 2; must divide ``D``.
        temperature: Temperature of the softmax over the bins, > 0.
        diagonal_weight: Weight of the diagonal term, >= 0.
        off_diagonal_weight: Weight of the off-diagonal term, >= 0.
        invariance_weight: Weight of the invariance term, >= 0.
        gather_distributed: Whether to use the global batch of all ranks. Every rank then returns the global batch's
            value, and the gradient after DDP's averaging is that of a single process. The ranks divide the rows of
            ``P``, and with them compute and memory.
        process_group: The ranks to gather from, the same as DDP's: a process group or a one-dimensional device mesh.
            None for the default group.

    Returns:
        The loss and its terms.

    Raises:
        TypeError: If a view has no floating dtype, or a setting has the wrong type.
        ValueError: If there are fewer than two views, if their shapes differ, if ``num_bins`` does not divide ``D``, if
            a setting is out of range, or, on all ranks, if a rank's batch is empty.
        NotImplementedError: Inside a transform of ``torch.func``.

    Example:
        >>> import torch
        >>> codes = 100 * torch.eye(4).repeat(2, 1)  # one variable of four bins, each used twice
        >>> terms = imsvd_loss([codes, codes], num_bins=4)
        >>> [round(float(term), 3) + 0.0 for term in terms]  # diagonal is -log 4
        [-1.386, -1.386, 0.0, 0.0]
    """
    check_positive("temperature", temperature)
    check_non_negative("diagonal_weight", diagonal_weight)
    check_non_negative("off_diagonal_weight", off_diagonal_weight)
    check_non_negative("invariance_weight", invariance_weight)
    views, sizes, group = global_batch(z_views, gather_distributed, process_group)
    check_num_bins(num_bins, views[0].shape[1])
    if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        raise NotImplementedError(
            "imsvd_loss forms its gradient with its value, which torch.func's transforms (grad, vmap, jvp) cannot do: "
            "use torch.autograd."
        )
    settings = _Settings(
        num_bins,
        temperature,
        diagonal_weight,
        off_diagonal_weight,
        invariance_weight,
        sizes,
        group,
        with_grad=torch.is_grad_enabled() and any(z.requires_grad for z in views),
    )
    with full_precision(views[0]):
        if settings.with_grad:
            return IMSVDTerms(*_IMSVD.apply(settings, *views))
        return _terms_and_gradients(settings, views)[0]


class _Settings(NamedTuple):
    num_bins: int
    temperature: float
    diagonal_weight: float
    off_diagonal_weight: float
    invariance_weight: float
    sizes: list[int]  # each rank's number of samples
    group: ProcessGroup | None
    with_grad: bool


class _IMSVD(Function):
    """``(settings, *z_views) -> loss, diagonal, off_diagonal, invariance``; the forward pass computes the gradient."""

    @staticmethod
    def forward(ctx: Any, settings: _Settings, *z_views: Tensor) -> tuple[Tensor, ...]:
        terms, gradients = _terms_and_gradients(settings, z_views)
        ctx.save_for_backward(*z_views, *gradients)
        _, *unweighted = terms
        ctx.mark_non_differentiable(*unweighted)
        return tuple(terms)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        z_views, gradients = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        return None, *(
            _Multiply.apply(grad_loss, gradient, z) if needed else None
            for gradient, z, needed in zip(gradients, z_views, ctx.needs_input_grad[1:], strict=True)
        )


def _terms_and_gradients(settings: _Settings, z_views: Sequence[Tensor]) -> tuple[IMSVDTerms, list[Tensor]]:
    """The terms and, if they are wanted, the loss's gradients with respect to the views."""
    num_bins, temperature, w_dia, w_off, w_inv, sizes, group, with_grad = settings
    ranks, num_views = len(sizes), len(z_views)

    # The first view has memory of its own, which its gradient reuses if there are two views.
    p_first, p_others = (discretize(z, num_bins, temperature) for z in (z_views[:1], z_views[1:]))
    p_views = [*p_first, *p_others]
    # Each pair of views counts as a sample of its own.
    num_pairs = num_views * (num_views - 1) // 2
    share = 1 / (num_pairs * sum(sizes) * p_views[0].shape[1])
    agreements = {(a, b): _agreement(p_views[a], p_views[b]) for a, b in combinations(range(num_views), 2)}
    invariance = torch.stack([agreement.log().sum() for agreement in agreements.values()]).sum() * -share

    earlier, later = stack_pairs(p_first.flatten(2), p_others.flatten(2))
    grad_later = torch.zeros_like(later) if with_grad else None
    if grad_later is not None:
        # This precedes the joint distribution, whose gradient overwrites the first view.
        for view, gradient in enumerate(grad_later.view(num_views - 1, *z_views[0].shape), start=1):
            _add_invariance_gradient_(gradient, view, p_views, agreements, -w_inv * share)
    form: Callable[..., JointEntropy] = joint_entropy
    if ranks > 1:
        form = partial(divided_joint_entropy, rows=[(num_views - 1) * size for size in sizes], group=group)
    joint = form(earlier, later, num_bins, num_pairs * sum(sizes), w_dia, w_off, grad_b=grad_later)
    terms = torch.stack([joint.diagonal, joint.off_diagonal, invariance])
    if ranks > 1:
        terms = all_reduce_sum(terms, group)
    diagonal, off_diagonal, invariance = (term.clone() for term in terms)

    gradients: list[Tensor] = []
    if grad_later is not None:
        gradients = unstack_gradients(earlier, grad_later, num_views)
        _add_invariance_gradient_(gradients[0], 0, p_views, agreements, -w_inv * share)
        for gradient, z in zip(gradients, z_views, strict=True):
            discretization_gradient_(gradient, z, num_bins, temperature)
            if ranks > 1:
                gradient.mul_(ranks)  # DDP divides by it
    loss = w_dia * diagonal + w_off * off_diagonal + w_inv * invariance
    return IMSVDTerms(loss, diagonal, off_diagonal, invariance), gradients


def _agreement(p_a: Tensor, p_b: Tensor) -> Tensor:
    """``sum_k p_a p_b`` of each sample and variable, ``(N, M, 1)``, a chunk of samples at a time."""
    chunk = chunk_rows(p_a)
    chunks = zip(torch.split(p_a, chunk), torch.split(p_b, chunk), strict=True)
    return torch.cat([(rows_a * rows_b).sum(dim=-1, keepdim=True) for rows_a, rows_b in chunks])


def _add_invariance_gradient_(
    gradient: Tensor, view: int, p_views: list[Tensor], agreements: dict[tuple[int, int], Tensor], weight: float
) -> None:
    """Add the gradient with respect to one view, ``(N, D)``, of the weighted sum of its log agreements with others."""
    for pair, agreement in agreements.items():
        if view in pair:
            other = p_views[sum(pair) - view]
            gradient.view_as(other).addcdiv_(other, agreement, value=weight)


class _Multiply(Function):
    """The incoming scalar times the gradient; ``z`` is an input only so that a second derivative gets here."""

    @staticmethod
    def forward(ctx: Any, grad_loss: Tensor, gradient: Tensor, z: Tensor) -> Tensor:
        return grad_loss * gradient

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError("the IMSVD loss has no second derivative: its gradient is formed with its value.")
