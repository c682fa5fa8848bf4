"""Collectives that gradients pass through exactly.

Each of them does nothing when there is no process group, or only one process in it, so that the mathematics calls them
unconditionally.

Convention: when every rank computes the *same* value of the global batch from a reduced or gathered tensor, the
gradient that reaches a rank's own samples is ``W`` times that rank's share of the global gradient.
``DistributedDataParallel`` divides by ``W`` while it sums over the ranks, so the parameters get exactly the gradient
that one process would compute on the global batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def world_size() -> int:
    """Number of processes ``W`` in the default group; 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of ``x`` over all ranks, on every rank.

    Args:
        x: Any shape, the same on every rank.

    Returns:
        A new tensor of the same shape; its gradient is the sum of the ranks' gradients.
    """
    if world_size() == 1:
        return x
    return _AllReduceSum.apply(x)  # type: ignore[no-any-return]


def all_gather(x: Tensor, name: str = "x") -> Tensor:
    """All ranks' ``x``, one after the other in the order of the ranks.

    Args:
        x: ``(N, ...)``, the same shape on every rank.
        name: What ``x`` is called in the error message.

    Returns:
        ``(W * N, ...)``; the gradient of a rank's rows is the sum of the ranks' gradients of those rows.

    Raises:
        ValueError: If the ranks hold different numbers of rows; raised on all ranks alike.
    """
    ranks = world_size()
    if ranks == 1:
        return x
    sizes = batch_sizes(x)
    if len(set(sizes)) > 1:
        raise ValueError(
            f"{name}: gathering needs the same number of samples on every rank, got {sizes}; "
            "use drop_last=True in the data loader."
        )
    return _AllGather.apply(x)  # type: ignore[no-any-return]


def batch_sizes(x: Tensor) -> list[int]:
    """Number of rows of ``x`` on each rank; the host waits for the answer."""
    sizes = torch.zeros(world_size(), dtype=torch.int64, device=x.device)
    sizes[dist.get_rank()] = len(x)
    dist.all_reduce(sizes)
    return [int(size) for size in sizes.tolist()]


def all_gather_single(gathered: Tensor, x: Tensor) -> None:
    """Torch's collective of this name, which was called ``all_gather_into_tensor`` before torch 2.14."""
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(gathered, x)


def reduce_scatter_single(own: Tensor, x: Tensor) -> None:
    """Torch's collective of this name, which was called ``reduce_scatter_tensor`` before torch 2.14."""
    reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    reduce_scatter(own, x)


class _AllReduceSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class _AllGather(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gathered = x.new_empty((world_size() * len(x), *x.shape[1:]))
        all_gather_single(gathered, x.contiguous())
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        own = grad.new_empty((len(grad) // world_size(), *grad.shape[1:]))
        reduce_scatter_single(own, grad.contiguous())
        return own
