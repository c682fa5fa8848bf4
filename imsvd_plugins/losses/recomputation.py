"""Which forward is repeated, when ``torch.utils.checkpoint`` runs a loss a second time inside the backward pass."""

from typing import NamedTuple

import torch
from torch import Tensor

# Forwards that may wait for their backward pass at a time.
MAX_FORWARDS = 1024


class Used(NamedTuple):
    """What a forward took from the state of its loss.

    Attributes:
        draws: Number of draws before it.
        scale: Scale of the kernel, a scalar that nothing changes afterwards.
    """

    draws: int
    scale: Tensor


class Forwards:
    """What the latest forwards took from the state of their loss, for those that are repeated.

    Checkpointing sets torch's random state back to what it was before it repeats a forward. So a number that each
    forward draws from torch's default generator is the same in both runs, and tells the forwards apart.
    """

    def __init__(self) -> None:
        # None where several forwards drew the same number.
        self._used: dict[int, Used | None] = {}

    def begin(self, state: Used) -> tuple[Used, bool]:
        """Start a forward.

        Args:
            state: What it would take from the state that the loss has now.

        Returns:
            What it is to take, and whether it is a repetition: then it takes what the first run took.

        Raises:
            RuntimeError: If it is a repetition, and which forward it repeats cannot be told.
        """
        if torch._C._are_functorch_transforms_active():  # where nothing is checkpointed, nor drawn unasked
            return state, False
        # On the host whatever the default device is, so that nobody waits for it.
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
        """Forget all forwards: the loss has got another state."""
        self._used.clear()

    def __reduce__(self) -> tuple[type["Forwards"], tuple[()]]:
        """No graph leads to a copy of the loss, so a copy has nothing to repeat."""
        return Forwards, ()
