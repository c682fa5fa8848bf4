"""From a projector's output to the probabilities of latent variables."""

from collections.abc import Sequence

import torch
from torch import Tensor

from imsvd_plugins.checks import check_integer, check_positive
from imsvd_plugins.functional._checks import check_matrix

# Small enough not to change a joint entropy; large enough that float32 can hold its square times its logarithm.
MIN_PROBABILITY = 1e-8
# Rows are processed in chunks, so that intermediate results take little memory. A small chunk stays in a CPU's cache;
# on a GPU each chunk costs several kernel launches.
_CPU_CHUNK_BYTES, _GPU_CHUNK_BYTES = 2**20, 32 * 2**20


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
        TypeError: If ``z`` has no floating dtype or ``num_bins`` is not an integer.
        ValueError: If the shape, ``num_bins`` or ``temperature`` is out of range.

    Example:
        >>> import torch
        >>> soft_discretize(torch.zeros(2, 6), num_bins=3).shape
        torch.Size([2, 2, 3])
    """
    check_matrix("z", z)
    check_positive("temperature", temperature)
    check_num_bins(num_bins, z.shape[1])
    return _softmax(z, num_bins, temperature).clamp(min=MIN_PROBABILITY)


def _softmax(z: Tensor, num_bins: int, temperature: float) -> Tensor:
    if z.dtype != torch.float64:
        z = z.float()
    scores = z.reshape(len(z), -1, num_bins)
    # At the paper's temperature of 1 the division and its copy are skipped.
    return (scores if temperature == 1 else scores / temperature).softmax(dim=-1)


def discretize(z_views: Sequence[Tensor], num_bins: int, temperature: float) -> Tensor:
    """:func:`soft_discretize` for several views, without an autograd graph, in less memory and time.

    Args:
        z_views: Projector outputs ``(N, D)`` of one floating dtype.
        num_bins: Bins ``K`` of a variable.
        temperature: Temperature of the softmax.

    Returns:
        Probabilities ``(V, N, M, K)``, float32 or float64.
    """
    dtype = z_views[0].dtype if z_views[0].dtype == torch.float64 else torch.float32
    flat = torch.empty((len(z_views), *z_views[0].shape), dtype=dtype, device=z_views[0].device)
    probabilities = flat.view(*flat.shape[:2], -1, num_bins)
    chunk = chunk_rows(probabilities[0])
    for z, of_view in zip(z_views, probabilities, strict=True):
        for z_rows, rows in zip(torch.split(z, chunk), torch.split(of_view, chunk), strict=True):
            torch.clamp(_softmax(z_rows, num_bins, temperature), min=MIN_PROBABILITY, out=rows)
    return probabilities


def chunk_rows(tensor: Tensor) -> int:
    """Number of rows of a contiguous tensor to process at a time."""
    chunk_bytes = _CPU_CHUNK_BYTES if tensor.device.type == "cpu" else _GPU_CHUNK_BYTES
    return max(1, chunk_bytes // (tensor.stride(0) * tensor.element_size()))


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
    chunk = chunk_rows(gradient)
    for z_rows, rows in zip(torch.split(z, chunk), torch.split(gradient, chunk), strict=True):
        # Computed again, because the lower bound has overwritten the softmax's values where it is active.
        softmax = _softmax(z_rows, num_bins, temperature)
        grad = rows.view_as(softmax)
        grad.masked_fill_(softmax < MIN_PROBABILITY, 0)
        grad.sub_((grad * softmax).sum(dim=-1, keepdim=True)).mul_(softmax).div_(temperature)
