"""Stops an mmengine training whose images or loss are NaN or infinite."""

from collections.abc import Iterable, Mapping

import torch
from mmengine.logging import MessageHub
from torch import Tensor

from imsvd_plugins.training.finite import INTERVAL, FiniteWatch


class RunWatch:
    """Tells a :class:`~imsvd_plugins.training.finite.FiniteWatch` where mmengine's training is.

    It also looks in each epoch's last step, before the epoch's evaluations and its checkpoint, and always before the
    step changes the weights. mmengine saves on one process alone; then it is too late for the ranks to stop together.
    """

    def __init__(self) -> None:
        self._watch = FiniteWatch()
        self._epoch: int | None = None
        self._first_iter = 0

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, name: str, inputs: Iterable[Tensor], terms: Mapping[str, Tensor]) -> None:
        """Record a step; outside of mmengine's training loops, do nothing.

        Args:
            name: What the inputs are: "images" or "projections".
            inputs: Tensors of a floating dtype and any shape.
            terms: Tensors by name, the loss among them.

        Raises:
            NonFiniteError: If this step is one to look at, and something in it or an earlier step was not finite.
        """
        hub = MessageHub.get_current_instance()
        epoch, iteration, epochs, iterations = map(hub.get_info, ("epoch", "iter", "max_epochs", "max_iters"))
        if iteration is None or not epochs:
            return
        if epochs == 1:
            # A loop by iterations counts as one epoch, and a resumed run starts in the middle of it.
            step, length, place = iteration + 1, iterations, f"iteration {iteration + 1}"
        else:
            if epoch != self._epoch:
                self._epoch, self._first_iter = epoch, iteration
            step, length = iteration + 1 - self._first_iter, iterations // epochs
            place = f"epoch {epoch + 1}, iteration {step}"
        self._watch.record(f"{place} of {length}", name, inputs, terms)
        if (iteration + 1) % INTERVAL == 0 or step == length:
            self._watch.look()
