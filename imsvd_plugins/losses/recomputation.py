"""Finds which forward is repeated when ``torch.utils.checkpoint`` runs a loss again inside the backward pass."""

from typing import NamedTuple

import torch
from torch import Tensor

# Maximal number of forwards that wait for their backward pass.
MAX_FORWARDS = 1024


class Used(NamedTuple):
    """The part of a loss's state that a forward used.

    Attributes:
        draws: Number of draws before the forward.
        scale: Scale of the kernel, a scalar that nothing changes afterwards.
    """

    draws: int
    scale: Tensor


class Forwards:
    """The states that the latest forwards used, for those that are repeated.

    Checkpointing restores torch's random state before it repeats a forward. So each forward draws a number from torch's
    default generator: it is the same in both runs, and identifies the forward.
    """

    def __init__(self) -> None:
        # None where several forwards drew the same number.
        self._used: dict[int, Used | None] = {}

    def begin(self, state: Used) -> tuple[Used, bool]:
        """Start a forward.

        Args:
            state: The present state of the loss.

        Returns:
            The state to use, and whether the forward is a repetition, which uses the state of its first run.

        Raises:
            RuntimeError: If it is a repetition of an unknown forward.
        """
        if torch._C._are_functorch_transforms_active():  # they neither checkpoint nor allow a draw by default
            return state, False
        # Drawn on the host, whatever the default device is, so that nothing waits for the device.
        (number,) = torch.randint(2**62, (1,), device="cpu").tolist()
        if torch._C._current_graph_task_id() == -1:  # outside of any backward pass
            before = self._used.pop(number, state)
            self._used[number] = state if before is not None and before.draws == state.draws else None
            if len(self._used) > MAX_FORWARDS:
                del self._used[next(iter(self._used))]
            return state, False
        used = self._used.get(number)
        if used is None:
            raise RuntimeError(
                "the loss was run inside a backward pass, and cannot tell which forward this repeats: "
                "torch.utils.checkpoint needs preserve_rng_state=True, another random state at each forward "
                f"and at most {MAX_FORWARDS} forwards before the backward pass."
            )
        return used, True

    def forget(self) -> None:
        """Forget all forwards, because the loss has a new state."""
        self._used.clear()

    def __reduce__(self) -> tuple[type["Forwards"], tuple[()]]:
        """No autograd graph refers to a copy of the loss, so a copy has nothing to repeat."""
        return Forwards, ()
