"""Detects NaN or infinite images and losses during training, without making the host wait in each step."""

from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from imsvd_plugins.distributed import world_size

#: Steps from one look to the next, a divisor of the usual intervals of checkpoints.
INTERVAL = 50


class NonFiniteError(FloatingPointError):
    """The images or the loss of a training are NaN or infinite."""


class FiniteWatch:
    """Records on the device, for each step, whether the inputs and the loss's terms were finite.

    A host's adapter calls :meth:`look` every :data:`INTERVAL` steps and before a checkpoint. Gradients are not checked:
    in mixed precision they overflow now and then, and the optimizer skips the step. All ranks must record and look at
    the same steps, as they do under a trainer; then all stop together, whichever rank saw the fault.
    """

    def __init__(self) -> None:
        self._inputs = ""
        self._names: list[str] = []
        self._places: list[str] = []
        self._flags: list[Tensor] = []

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def record(self, place: str, name: str, inputs: Iterable[Tensor], terms: Mapping[str, Tensor]) -> None:
        """Record a step; the host does not wait.

        Args:
            place: Position in the training, for the error message, such as "epoch 3, step 120".
            name: What the inputs are, the same in all steps: "images" or "projections".
            inputs: Tensors of a floating dtype and any shape.
            terms: Tensors by name, the loss among them.
        """
        # A sum reads the images once, and is NaN or infinite if one of its addends is.
        total = torch.stack([x.sum(dtype=torch.float32) for x in inputs]).sum()
        sums = [term.sum(dtype=torch.float32).to(total.device, non_blocking=True) for term in terms.values()]
        self._inputs = name
        self._names = [name, *terms]
        self._places.append(place)
        self._flags.append(~torch.stack([total, *sums]).isfinite())

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def look(self) -> None:
        """Check the steps recorded since the last call, on all ranks together; the host waits for the device.

        Raises:
            NonFiniteError: If anything in them was not finite; on all ranks alike.
        """
        if not self._flags:
            return
        flags = torch.stack(self._flags).to(torch.int32)
        places = self._places
        self._places, self._flags = [], []
        if world_size() > 1:
            dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        for place, row in zip(places, flags.tolist(), strict=True):
            if any(row):
                found = [name for name, bad in zip(self._names, row, strict=True) if bad]
                raise NonFiniteError(self._line(place, found))

    def _line(self, place: str, found: list[str]) -> str:
        if self._inputs in found:
            what = f"the {self._inputs} hold NaN or infinite values"
            cure = "see what the dataset and its transforms give"
            if self._inputs != "images":
                cure = "see whether the images hold such values too, else lower the learning rate"
        else:
            what = f"{', '.join(found)} became NaN or infinite, with finite {self._inputs}"
            cure = "lower the learning rate, or resume from an earlier checkpoint"
        return f"training stopped at {place}: {what}; {cure} (check_finite=False trains on)."
