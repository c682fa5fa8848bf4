"""Stopping a training of mmengine's whose images or loss are NaN or infinite."""

from collections.abc import Iterable, Mapping

import torch
from mmengine.logging import MessageHub
from torch import Tensor

from imsvd_plugins.training.finite import INTERVAL, FiniteWatch


class RunWatch:
    """Asks mmengine where the training is, for a :class:`~imsvd_plugins.training.finite.FiniteWatch`.

    It looks in each epoch's last step too, before the epoch's evaluations and its checkpoint, and always before the
    step's weights change: mmengine saves on one process alone, where it is too late for the ranks to stop together.
    """

    def __init__(self) -> None:
        self._watch = FiniteWatch()
        self._epoch: int | None = None
        self._first_iter = 0

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, name: str, inputs: Iterable[Tensor], terms: Mapping[str, Tensor]) -> None:
        """Keep a step; outside of mmengine's training loops, do nothing.

        Args:
            name: What the inputs are: "images" or "projections".
            inputs: Tensors of a floating dtype and any shape.
            terms: Tensors by name, the loss among them.

        Raises:
            NonFiniteError: If it is time to look, and in this or an earlier step something was not finite.
        """
        hub = MessageHub.get_current_instance()
        epoch, iteration, epochs, iterations = map(hub.get_info, ("epoch", "iter", "max_epochs", "max_iters"))
        if iteration is None or not epochs:
            return
        if epochs == 1:
            # A loop by iterations calls itself one epoch, which a resumed run enters amid.
            step, length, place = iteration + 1, iterations, f"iteration {iteration + 1}"
        else:
            if epoch != self._epoch:
                self._epoch, self._first_iter = epoch, iteration
            step, length = iteration + 1 - self._first_iter, iterations // epochs
            place = f"epoch {epoch + 1}, iteration {step}"
        self._watch.record(f"{place} of {length}", name, inputs, terms)
        if (iteration + 1) % INTERVAL == 0 or step == length:
            self._watch.look()
