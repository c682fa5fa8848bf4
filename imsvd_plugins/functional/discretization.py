"""From a projector's output to the probabilities of latent variables."""

import torch
from torch import Tensor

from imsvd_plugins.functional._checks import check_integer, check_matrix, check_positive

# Small enough not to move a joint entropy, large enough that its square times its logarithm is a float32.
MIN_PROBABILITY = 1e-8
# Memory of a repeated softmax.
_CHUNK_BYTES = 8 * 2**20


def soft_discretize(z: Tensor, num_bins: int, temperature: float = 1.0) -> Tensor:
    r"""Read the ``D = M * K`` outputs of a projector as ``M`` latent variables of ``K`` bins each.

    .. math::
        p_{nmk} = \max\Bigl(10^{-8},\; \frac{\exp(z_{nmk} / t)}{\sum_j \exp(z_{nmj} / t)}\Bigr)

    No gradient flows where the lower bound is active.

    Args:
        z: Projector output ``(N, D)``, any floating dtype.
        num_bins: Bins ``K`` of a variable, at least 2; must divide ``D``.
        temperature: ``t > 0``; a smaller one makes the codes harder.

    Returns:
        Probabilities ``(N, M, K)`` in float32 (float64 for float64 input): float16 would round 1e-8 to 0.

    Raises:
        TypeError: If ``z`` has no floating dtype or ``num_bins`` is no integer.
        ValueError: If the shape, ``num_bins`` or ``temperature`` is out of range.

    Example:
        >>> import torch
        >>> soft_discretize(torch.zeros(2, 6), num_bins=3).shape
        torch.Size([2, 2, 3])
    """
    check_matrix("z", z)
    check_positive("temperature", temperature)
    check_num_bins(num_bins, z.shape[1])
    if z.dtype != torch.float64:
        z = z.float()
    logits = z.reshape(len(z), -1, num_bins) / temperature
    return logits.softmax(dim=-1).clamp(min=MIN_PROBABILITY)


def check_num_bins(num_bins: int, dim: int) -> None:
    """Refuse a number of bins that does not divide the projector's ``dim`` outputs."""
    check_integer("num_bins", num_bins, minimum=2)
    if dim % num_bins:
        divisors = [k for k in range(2, dim + 1) if dim % k == 0]
        nearest = sorted(sorted(divisors, key=lambda k: abs(k - num_bins))[:4])
        raise ValueError(
            f"num_bins must divide the projector's output dimension D = {dim}, got num_bins = {num_bins}; "
            f"nearest that do: {', '.join(map(str, nearest))}."
        )


def discretization_gradient_(gradient: Tensor, z: Tensor, num_bins: int, temperature: float) -> None:
    """Turn the gradient with respect to :func:`soft_discretize`'s output into the one with respect to ``z``, in place.

    Args:
        gradient: ``(N, D)``, contiguous; overwritten.
        z: Projector output ``(N, D)``, float32 or float64.
        num_bins: Bins ``K`` of a variable.
        temperature: Temperature of the softmax.
    """
    chunk = max(1, _CHUNK_BYTES // (z.shape[1] * z.element_size()))
    for z_rows, rows in zip(torch.split(z, chunk), torch.split(gradient, chunk), strict=True):
        # Repeated, because the bound has overwritten what the softmax gave where it is active.
        softmax = (z_rows.reshape(len(z_rows), -1, num_bins) / temperature).softmax(dim=-1)
        grad = rows.view_as(softmax)
        grad.masked_fill_(softmax < MIN_PROBABILITY, 0)
        grad.sub_((grad * softmax).sum(dim=-1, keepdim=True)).mul_(softmax).div_(temperature)
