"""A base class of callbacks that evaluate two views of training images at the end of an epoch."""

import math
from abc import abstractmethod
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from imsvd_plugins.checks import check_integer
from imsvd_plugins.evaluation.mode import evaluation_mode
from imsvd_plugins.lightly.errors import SettingsError


class TwoViewsCallback(Callback):
    """Evaluates features and projections of the epoch's last images, with the model in evaluation mode.

    After each of the last training steps, the model sees the first two views of that step's batch again. So the
    callback loads no data, draws no random numbers and keeps no images. The module must have a ``backbone`` and a
    ``projection_head``, as Lightly's methods do.

    Args:
        interval: Number of epochs from one evaluation to the next; the last epoch, by the trainer's ``max_epochs`` or
            ``max_steps``, is always evaluated.
        num_samples: Number of images over all devices, at least 2.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range; at the start of the training, if the module lacks these parts.
    """

    def __init__(self, interval: int, num_samples: int) -> None:
        check_integer("interval", interval, minimum=1)
        check_integer("num_samples", num_samples, minimum=2)
        self.interval = interval
        self.num_samples = num_samples
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    @abstractmethod
    def evaluate(
        self, trainer: Trainer, pl_module: LightningModule, features: Tensor, z_a: Tensor, z_b: Tensor
    ) -> None:
        """Use the features ``(N, d)`` of one view and the projections ``(N, D)`` of two, float32, from all ranks."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise if the module has no backbone or projection head."""
        for part in ("backbone", "projection_head"):
            if not isinstance(getattr(pl_module, part, None), torch.nn.Module):
                raise SettingsError(
                    f"{type(self).__name__} needs a module with a backbone and a projection_head, as Lightly's methods "
                    f"have; {type(pl_module).__name__} has no {part}."
                )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discard the last epoch's batches."""
        if math.isinf(trainer.num_training_batches):
            raise SettingsError(
                f"{type(self).__name__} looks at an epoch's last images: the training data loader must have a length, "
                "or the trainer a limit_train_batches."
            )
        self._parts.clear()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the features and projections of one of the last batches."""
        batches_to_come, is_last_epoch = _what_is_to_come(trainer, batch_idx)
        if (trainer.current_epoch + 1) % self.interval and not is_last_epoch:
            return
        views = batch[0]
        if not isinstance(views, (list, tuple)) or len(views) < 2:
            raise SettingsError(f"{type(self).__name__} needs batches (views, ...) of two or more views of each image.")
        wanted = math.ceil(self.num_samples / (len(views[0]) * trainer.world_size))
        if batches_to_come < wanted:
            self._parts.append(_features_and_projections(trainer, pl_module, views[0], views[1]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather and evaluate."""
        if not self._parts:
            return
        columns = [torch.cat(column) for column in zip(*self._parts, strict=True)]
        if trainer.world_size > 1:
            columns = [pl_module.all_gather(column).flatten(0, 1) for column in columns]  # type: ignore[union-attr]
        features, z_a, z_b = (column[: self.num_samples] for column in columns)
        self._parts.clear()
        self.evaluate(trainer, pl_module, features, z_a, z_b)


def _what_is_to_come(trainer: Trainer, batch_idx: int) -> tuple[int, bool]:
    """Number of batches left in this epoch, and whether it is the training's last epoch."""
    to_come = int(trainer.num_training_batches) - (batch_idx + 1)
    if trainer.max_steps != -1:
        accumulate, steps = trainer.accumulate_grad_batches, trainer.max_steps - trainer.global_step
        # An epoch's last batch is always a step, even if few batches were accumulated.
        accumulated = (batch_idx + 1) % accumulate if to_come else 0
        if steps <= math.ceil((to_come + accumulated) / accumulate):
            return min(to_come, steps * accumulate - accumulated), True
    return to_come, trainer.current_epoch + 1 == trainer.max_epochs


@torch.no_grad()
def _features_and_projections(
    trainer: Trainer, pl_module: Any, view_a: Tensor, view_b: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    with evaluation_mode(pl_module), trainer.precision_plugin.forward_context():
        features = [pl_module.backbone(view).flatten(start_dim=1) for view in (view_a, view_b)]
        z_a, z_b = (pl_module.projection_head(found) for found in features)
    return features[0].float(), z_a.float(), z_b.float()
