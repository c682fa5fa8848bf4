"""Passes a large batch through a network in chunks, so that a step needs the memory of one chunk's activations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Outputs = TypeVar("Outputs", Tensor, tuple[Tensor, ...])


def in_chunks(
    network: Callable[[Tensor], Outputs], batch: Tensor, chunk_size: int | None, modules: Sequence[nn.Module]
) -> Outputs:
    """Compute a network's outputs for a batch chunk by chunk, without keeping the activations.

    The backward pass computes each chunk again, by ``torch.utils.checkpoint``, with the same random numbers. Batch
    normalisation uses a chunk's own samples, as it uses a rank's own in DistributedDataParallel. Running statistics are
    updated once, to the mean of the values that the single chunks would give, and not in the second computation.

    Args:
        network: Maps a chunk ``(n, ...)`` to a tensor, or a tuple of tensors, with ``n`` rows.
        batch: ``(N, ...)``.
        chunk_size: Samples in a chunk; the last one may be smaller. None for the whole batch at once.
        modules: The network's modules, whose buffers a forward pass may change.

    Returns:
        What ``network(batch)`` returns, with ``N`` rows.
    """
    if chunk_size is None or len(batch) <= chunk_size:
        return network(batch)
    buffers = [buffer for module in modules for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    # Counters, such as a normalisation's number of batches, keep the last chunk's value.
    averaged = [index for index, buffer in enumerate(buffers) if buffer.is_floating_point()]
    moves = [torch.zeros_like(buffers[index]) for index in averaged]
    outputs = []
    chunks: tuple[Tensor, ...] = torch.split(batch, chunk_size)
    for chunk in chunks:
        _write(buffers, before)
        if torch.is_grad_enabled():
            output = checkpoint(network, chunk, use_reentrant=False, context_fn=partial(_contexts, buffers))
        else:
            output = network(chunk)
        for index, move in zip(averaged, moves, strict=True):
            buffer, value = buffers[index], before[index]
            # A constant may be infinite, and must not change in any bit.
            move.add_(torch.where(buffer == value, 0.0, buffer - value))
        outputs.append(output)
    means = [before[index] + move / len(chunks) for index, move in zip(averaged, moves, strict=True)]
    _write([buffers[index] for index in averaged], means)
    if isinstance(outputs[0], Tensor):
        return torch.cat(outputs)
    return tuple(torch.cat(column) for column in zip(*outputs, strict=True))


def _contexts(buffers: list[Tensor]) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts for the first and the second pass of a chunk."""
    return nullcontext(), _restored(buffers)


@contextmanager
def _restored(buffers: list[Tensor]) -> Iterator[None]:
    """Undo what a forward pass does to buffers."""
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        _write(buffers, before)


@torch.no_grad()
def _write(buffers: list[Tensor], values: list[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value)
