"""Stopping a Lightning training whose images or loss are NaN or infinite."""

from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from imsvd_plugins.functional import HSICTerms, IMSVDTerms
from imsvd_plugins.training.finite import INTERVAL, FiniteWatch


class WatchedModule(LightningModule):
    """A module whose training steps call :meth:`watch`.

    Args:
        check_finite: Whether values that are not finite stop the training.
    """

    def __init__(self, check_finite: bool) -> None:
        super().__init__()
        self._finite_watch = FiniteWatch() if check_finite else None

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def watch(self, views: Sequence[Tensor], terms: IMSVDTerms | HSICTerms) -> None:
        """Record whether this step's views and terms are finite; the check comes later."""
        if self._finite_watch is not None:
            place = f"epoch {self.current_epoch}, step {self.global_step}"
            self._finite_watch.record(place, "images", views, terms._asdict())

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop if a value was not finite. Several steps are checked at once, and always before a validation."""
        if self._finite_watch is not None and ((batch_idx + 1) % INTERVAL == 0 or self.trainer.is_last_batch):
            self._finite_watch.look()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stop before broken weights are saved."""
        if self._finite_watch is not None:
            self._finite_watch.look()

    def on_train_end(self) -> None:
        """Check also when a training ends within an epoch."""
        if self._finite_watch is not None:
            self._finite_watch.look()
