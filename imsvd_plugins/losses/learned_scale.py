"""The kernel's scale, which SSL-HSIC learns with an objective of its own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from imsvd_plugins.distributed import ProcessGroup, all_reduce_sum, world_size
from imsvd_plugins.functional.kernels import Kernel, squared_distances

LEARNING_RATE = 3e-4
# The gradient is estimated on at most this many vectors; all pairs of a large batch would cost more than the loss.
MAX_VECTORS = 1024
# A collapsed batch would drive the scale below 0.
MIN_SCALE = 1e-3


class LearnedScale(nn.Module):
    """Scale ``c`` of a kernel, initially 1, with the state of the Adam that learns it (Li et al. 2021, section 3.4).

    Everything is a buffer, not a parameter: the host's optimizer and its weight decay must not see it.
    """

    value: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("value", "exp_avg", "exp_avg_sq", "step"):
            self.register_buffer(name, torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Return to scale 1 and Adam's initial state."""
        self.value.fill_(1.0)
        for buffer in (self.exp_avg, self.exp_avg_sq, self.step):
            buffer.zero_()

    @torch.no_grad()
    def ascend(
        self,
        kernel: Kernel,
        vectors: Tensor,
        generator: torch.Generator,
        *,
        shared: bool = False,
        group: ProcessGroup | None = None,
    ) -> None:
        """Take one ascent step on the mean of log |dk/d(r^2)| over the pairs of at most 1024 of ``vectors (n, d)``.

        With ``shared``, the gradient is averaged over the ranks of ``group``, so that all take the same step.
        """
        if len(vectors) > MAX_VECTORS:
            rows = torch.randperm(len(vectors), generator=generator, device=generator.device)[:MAX_VECTORS]
            if vectors.is_cuda:
                rows = rows.pin_memory()
            vectors = vectors[rows.to(vectors.device, non_blocking=True)]
        first, second = torch.triu_indices(len(vectors), len(vectors), offset=1, device=vectors.device)
        distances = squared_distances(vectors, vectors)[first, second]
        gradient = kernel.scale_ascent(distances.float(), self.value.clone())
        if shared:
            gradient = all_reduce_sum(gradient, group) / world_size(group)
        # One overflowing step under a loss scaler must not spoil the scale for good.
        gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        adam(
            [self.value],
            [gradient],
            [self.exp_avg],
            [self.exp_avg_sq],
            [],
            [self.step],
            # This form never reads the step number back from the device.
            differentiable=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=LEARNING_RATE,
            weight_decay=0.0,
            eps=1e-8,
            maximize=True,
        )
        self.value.clamp_(min=MIN_SCALE)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move with the model but stay in float32: in half precision Adam's steps would vanish."""
        kept = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in self._buffers.items():
            before = kept[name]
            if buffer is not None and before is not None and buffer.dtype != before.dtype:
                self._buffers[name] = before.to(buffer.device)
        return self
