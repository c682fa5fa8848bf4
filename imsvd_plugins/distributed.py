"""Collectives with exact gradients.

Each of them does nothing without a process group, or with only one process in it, so the mathematics calls them
unconditionally.

Convention: when every rank computes the *same* value of the global batch from a reduced or gathered tensor, the
gradient that reaches a rank's own samples is ``W`` times that rank's share of the global gradient.
``DistributedDataParallel`` over the same process group divides by ``W`` while it sums over the ranks, so the parameters
get exactly the gradient that one process would compute on the global batch.
"""

from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

if TYPE_CHECKING or dist.is_available():
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh
else:  # Some builds of torch have no torch.distributed; then no group can be given.
    ProcessGroup = DeviceMesh = type(None)

__all__ = [
    "GroupOrMesh",
    "ProcessGroup",
    "all_gather",
    "all_reduce_sum",
    "batch_sizes",
    "gather_rows",
    "is_first_rank",
    "resolve_group",
    "world_size",
]

# What the losses accept as `process_group`, apart from None for the default group.
GroupOrMesh: TypeAlias = ProcessGroup | DeviceMesh

# For each group without a backend for CPU tensors, such as NCCL's, a group of the same ranks that has one.
_host_groups: WeakKeyDictionary[ProcessGroup, Any] = WeakKeyDictionary()


def resolve_group(process_group: GroupOrMesh | None) -> ProcessGroup | None:
    """The process group that an argument ``process_group`` stands for; None is the default group.

    Raises:
        TypeError: If it is neither a process group nor a device mesh.
        ValueError: If it is a mesh of several dimensions, or a group that this process is not in.
    """
    if process_group is None:
        return None
    if isinstance(process_group, DeviceMesh):
        if process_group.ndim != 1:
            raise ValueError(
                f"process_group must be a device mesh of one dimension, got one of {process_group.ndim}; "
                f"pass a dimension of it, such as mesh[{(process_group.mesh_dim_names or ('dp',))[0]!r}]."
            )
        return process_group.get_group()
    if isinstance(process_group, ProcessGroup):
        return process_group
    if process_group == dist.GroupMember.NON_GROUP_MEMBER:  # what new_group gives to the processes outside
        raise ValueError("process_group must be a group that this process is in, got one that it is not in.")
    raise TypeError(
        "process_group must be a ProcessGroup of torch.distributed, a DeviceMesh of one dimension or None, "
        f"got {process_group!r} of type {type(process_group).__name__}."
    )


def world_size(group: ProcessGroup | None = None) -> int:
    """Number of processes ``W`` in a group, by default in the default group; 1 without one."""
    return dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1


def is_first_rank() -> bool:
    """Whether this is rank 0 of the default group or the only process, which reports for all."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def all_reduce_sum(x: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Sum of ``x`` over all ranks, on every rank.

    Args:
        x: Any shape, the same on every rank.
        group: The ranks; None for the default group.

    Returns:
        A new tensor of the same shape; its gradient is the sum of the ranks' gradients.
    """
    if world_size(group) == 1:
        return x
    return _AllReduceSum.apply(x, group)  # type: ignore[no-any-return]


def all_gather(x: Tensor, name: str = "x", group: ProcessGroup | None = None) -> Tensor:
    """All ranks' ``x``, concatenated in the order of the ranks.

    Args:
        x: ``(N, ...)``, the same shape on every rank.
        name: Name of ``x`` in the error message.
        group: The ranks; None for the default group.

    Returns:
        ``(W * N, ...)``; the gradient of a rank's rows is the sum of the ranks' gradients of those rows.

    Raises:
        ValueError: If the ranks hold different numbers of rows, or a rank holds none; raised on all ranks alike.
    """
    if world_size(group) == 1:
        return x
    sizes = batch_sizes(len(x), name, group)
    if len(set(sizes)) > 1:
        raise ValueError(
            f"{name}: gathering needs the same number of samples on every rank, got {sizes}; "
            "use drop_last=True in the data loader."
        )
    return _AllGather.apply(x, group)  # type: ignore[no-any-return]


def gather_rows(x: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """All ranks' rows, concatenated in the order of the ranks. No gradient passes.

    Args:
        x: ``(n, ...)``; ``n`` may differ between the ranks, the other dimensions may not.
        group: The ranks; None for the default group.

    Returns:
        A tensor with the rows of all ranks.
    """
    if world_size(group) == 1:
        return x
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world_size(group))]
    dist.all_gather(counts, torch.tensor([len(x)], device=x.device), group=group)
    numbers = [int(count) for count in counts]
    # gloo gathers tensors of one shape only.
    padded = torch.cat([x, x.new_zeros(max(numbers) - len(x), *x.shape[1:])])
    gathered = [torch.empty_like(padded) for _ in numbers]
    dist.all_gather(gathered, padded, group=group)
    return torch.cat([rows[:number] for rows, number in zip(gathered, numbers, strict=True)])


@torch.compiler.disable  # type: ignore[untyped-decorator]
def batch_sizes(num_samples: int, name: str = "x", group: ProcessGroup | None = None) -> list[int]:
    """Number of samples on each rank. The ranks exchange it in the host's memory, so none waits for its device.

    Args:
        num_samples: This rank's number.
        name: Name of the batch in the error message.
        group: The ranks; None for the default group.

    Returns:
        All ranks' numbers, in the order of the ranks.

    Raises:
        ValueError: If a rank has no sample; raised on all ranks alike, before any of them waits for the others' data.
    """
    ranks = world_size(group)
    if ranks == 1:
        return [num_samples]
    sizes = torch.zeros(ranks, dtype=torch.int64, device="cpu")
    sizes[dist.get_rank(group)].fill_(num_samples)  # an assignment would make a tensor of the number first
    dist.all_reduce(sizes, group=_host_group(group))
    numbers: list[int] = sizes.tolist()
    if not all(numbers):
        raise ValueError(
            f"{name}: every rank needs at least one sample, got {numbers}; use drop_last=True in the data loader."
        )
    return numbers


def _host_group(group: ProcessGroup | None) -> ProcessGroup | None:
    """A group of the same ranks that can send CPU tensors; all its ranks make it at the first call."""
    if "cpu:" in dist.get_backend_config(group):
        return group
    key: Any = dist.group.WORLD if group is None else group
    if key not in _host_groups:
        # Ranks outside of a smaller group do not get here, and need not.
        ranks, local = dist.get_process_group_ranks(key), world_size(group) < world_size()
        _host_groups[key] = dist.new_group(ranks, backend="gloo", use_local_synchronization=local)
    return _host_groups[key]  # type: ignore[no-any-return]


def all_gather_single(gathered: Tensor, x: Tensor, group: ProcessGroup | None = None) -> None:
    """Torch's collective of this name, which was called ``all_gather_into_tensor`` before torch 2.14."""
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(gathered, x, group=group)


def reduce_scatter_single(own: Tensor, x: Tensor, group: ProcessGroup | None = None) -> None:
    """Torch's collective of this name, which was called ``reduce_scatter_tensor`` before torch 2.14."""
    reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    reduce_scatter(own, x, group=group)


class _AllReduceSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup | None) -> Tensor:
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


class _AllGather(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup | None) -> Tensor:
        ctx.group = group
        gathered = x.new_empty((world_size(group) * len(x), *x.shape[1:]))
        all_gather_single(gathered, x.contiguous(), group)
        return gathered

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        own = grad.new_empty((len(grad) // world_size(ctx.group), *grad.shape[1:]))
        reduce_scatter_single(own, grad.contiguous(), ctx.group)
        return own, None
