"""Bytes that a rank sends in collectives, counted from the calls."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that this rank sends while the mode is on, also in the backward pass.

    The count is the minimum for each collective, which ring algorithms reach. A tensor of ``x`` bytes on ``W`` ranks
    takes: all-reduce ``2 (W - 1) / W x``; all-gather ``(W - 1) x``; reduce-scatter and scatter ``(W - 1) / W`` of the
    whole input; all-to-all the part for other ranks; broadcast ``x`` on its root.

    Attributes:
        sent_bytes: The count.
    """

    sent_bytes = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count, then run the operation."""
        if func.namespace == "c10d":
            name = func.overloadpacket.__name__
            if name not in _SENT:
                raise NotImplementedError(f"the bytes that {func} sends are not known.")
            self.sent_bytes += _SENT[name](args, dist.get_world_size())
        elif func.namespace == "_c10d_functional":
            raise NotImplementedError(f"the bytes that {func} sends are not known.")
        return func(*args, **(kwargs or {}))


def _bytes(tensors: Any) -> int:
    """Size of a tensor, or of all tensors in nested lists."""
    return tensors.nbytes if isinstance(tensors, Tensor) else sum(map(_bytes, tensors))


def _to_others(args: Sequence[Any], ranks: int) -> float:
    sent, splits = args[1], args[4]
    own = splits[dist.get_rank()] / len(sent) if splits and len(sent) else 1 / ranks
    return _bytes(sent) * (1 - own)


_SENT: dict[str, Callable[[Sequence[Any], int], float]] = {
    "allreduce_": lambda args, ranks: _bytes(args[0]) * 2 * (ranks - 1) / ranks,
    "_allgather_base_": lambda args, ranks: _bytes(args[1]) * (ranks - 1),
    "allgather_": lambda args, ranks: _bytes(args[1]) * (ranks - 1),
    "_reduce_scatter_base_": lambda args, ranks: _bytes(args[1]) * (ranks - 1) / ranks,
    "reduce_scatter_": lambda args, ranks: _bytes(args[1]) * (ranks - 1) / ranks,
    "scatter_": lambda args, ranks: _bytes(args[1]) * (ranks - 1) / ranks,
    "alltoall_base_": _to_others,
    "broadcast_": lambda args, ranks: _bytes(args[0]) * (dist.get_rank() == args[2]),
    "barrier": lambda args, ranks: 0,
}
