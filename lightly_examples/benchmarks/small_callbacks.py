"""What a run of the small protocol does after each epoch."""

import math

import pytorch_lightning as pl
from evaluation import DivergedError


class Curves(pl.Callback):
    """Keeps each logged value, its means over the epochs, in ``values``."""

    def __init__(self):
        self.values = {}

    def on_train_epoch_end(self, trainer, pl_module):
        for name, value in trainer.callback_metrics.items():
            self.values.setdefault(name, []).append(value.item())


class StopDiverged(pl.Callback):
    """Ends a run whose loss is infinite or NaN."""

    def on_train_epoch_end(self, trainer, pl_module):
        loss = trainer.callback_metrics["train_loss_ssl"].item()
        if not math.isfinite(loss):
            raise DivergedError(f"The loss is {loss} after epoch {trainer.current_epoch + 1}.")
