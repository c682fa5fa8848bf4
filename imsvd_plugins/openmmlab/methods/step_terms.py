"""Logs the terms of a loss for algorithms that return only the loss."""

from functools import cache
from typing import Any

import torch
from mmengine.logging import MessageHub
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

_pending: list[tuple[MessageHub, dict[str, Tensor]]] = []


@torch.compiler.disable  # type: ignore[untyped-decorator]
def log_terms(terms: dict[str, Tensor]) -> None:
    """Log the terms of a training step's loss, as ``train/...`` in mmengine's current message hub.

    The log shows the mean over the calls of one optimizer step. Nothing is logged outside of a runner's training or
    where no gradient is computed.

    Args:
        terms: Scalars by name.
    """
    if not terms or not torch.is_grad_enabled():
        return
    hub = MessageHub.get_current_instance()
    # RuntimeInfoHook, which every runner has, sets it.
    if hub.get_info("loop_stage") != "train":
        return
    if _pending and _pending[0][0] is not hub:
        # Left over from a training that failed within a step.
        _pending.clear()
    _pending.append((hub, {name: value.detach() for name, value in terms.items()}))
    _listen()


@cache
def _listen() -> None:
    # After the optimizer's step mmengine's hooks wait for the device anyway, to log the loss. Calling update_scalar in
    # the forward pass would wait in the middle of the step.
    register_optimizer_step_post_hook(_push)


def _push(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not _pending:
        return
    hub = _pending[0][0]
    calls: dict[str, list[Tensor]] = {}
    for _, terms in _pending:
        for name, value in terms.items():
            calls.setdefault(name, []).append(value)
    _pending.clear()
    means = torch.stack([torch.stack(values).mean() for values in calls.values()])
    for name, mean in zip(calls, means.tolist(), strict=True):
        hub.update_scalar(f"train/{name}", mean)
