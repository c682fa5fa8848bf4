"""Checks before a training's first step: an error of one line instead of a failure later."""

import copy
import math
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.model_helpers import is_overridden
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from imsvd_plugins.lightly.errors import SettingsError
from imsvd_plugins.losses import IMSVDLoss
from imsvd_plugins.training.seeded_batches import SeededBatchSampler


def check_batches(trainer: Trainer) -> None:
    """Raise if the training data leave no step, or a batch has one image.

    Args:
        trainer: A trainer whose training data loader is set up.

    Raises:
        SettingsError: If there is no step, or a batch of one image on a single device.
    """
    batches = _batches(trainer)
    if batches is None or math.isinf(trainer.num_training_batches):
        return
    sampler: Any = batches.sampler
    images = len(sampler)
    if trainer.num_training_batches == 0 and trainer.limit_train_batches != 0:
        raise SettingsError(
            f"There is no step to train: a device has {images} images, which make no whole batch of "
            f"{batches.batch_size} with drop_last = {batches.drop_last}. Take a smaller batch_size or more images."
        )
    if trainer.world_size > 1:  # Batch statistics may span all devices.
        return
    if batches.batch_size == 1:
        raise SettingsError(
            "The objective is a statistic of the batch, and batches of one image have none: the training data "
            "loader's batch_size must be at least 2, got 1."
        )
    all_of_them = trainer.num_training_batches == len(batches)
    if not batches.drop_last and images % batches.batch_size == 1 and all_of_them:
        raise SettingsError(
            f"The last batch of an epoch would hold one image, {images} in batches of {batches.batch_size}: give the "
            "training data loader drop_last=True."
        )


def warn_of_too_many_bins(trainer: Trainer, criterion: nn.Module) -> None:
    """Warn if there are more bins than a batch can fill."""
    batches = _batches(trainer)
    if isinstance(criterion, IMSVDLoss) and batches is not None:
        criterion.check_bins(batches.batch_size * (trainer.world_size if criterion.gather_distributed else 1))


def num_features(trainer: Trainer, backbone: nn.Module) -> int | None:
    """The width of a backbone's features, inferred from one training image without computing.

    Weights, normalisation statistics and random states do not change.

    Returns:
        The width. None if it is unknown before the first step: for iterable data, batches that the data module
        transforms, a dataset without an image 0, and a backbone that has hooks or does not run on the meta device.
    """
    loader = _loader(trainer)
    if loader is None or isinstance(loader.dataset, IterableDataset):
        return None
    module: Any = trainer.datamodule or trainer.lightning_module  # type: ignore[attr-defined]
    if any(is_overridden(hook, module) for hook in ("on_before_batch_transfer", "on_after_batch_transfer")):
        return None
    if any(part._forward_hooks or part._forward_pre_hooks for part in backbone.modules()):
        return None  # A user's hooks would see an input that is no image.
    with isolate_rng():
        try:
            # A copy: files that a dataset opens at its first image must not be shared with the loader's workers.
            sample = copy.copy(loader.dataset)[0]
            view = loader.collate_fn([sample, sample])[0][0]
            if not isinstance(view, Tensor):
                return None
            with torch.no_grad():
                features = _on_meta(backbone)(view.to("meta"))
        except Exception:  # Indices may not be numbers, and a backbone may need values; the first step will show.
            return None
    return int(features.flatten(start_dim=1).shape[1]) if isinstance(features, Tensor) else None


def _loader(trainer: Trainer) -> DataLoader[Any] | None:
    """The training data loader, also if a wrapper holds it as its ``loader``."""
    loader = trainer.train_dataloader
    loader = getattr(loader, "loader", loader)
    return loader if isinstance(loader, DataLoader) else None


def _batches(trainer: Trainer) -> BatchSampler | None:
    """The batch sampler of the training data; None if it is unknown, such as a user's subclass."""
    batches = getattr(_loader(trainer), "batch_sampler", None)
    return batches if type(batches) in (BatchSampler, SeededBatchSampler) else None


def _on_meta(backbone: nn.Module) -> nn.Module:
    """A copy without weights, because a forward pass may change a module's state."""
    empty: dict[int, Any] = {id(value): value.to("meta") for value in backbone.buffers()}
    empty |= {id(value): nn.Parameter(value.to("meta"), requires_grad=False) for value in backbone.parameters()}
    # In evaluation mode, because SyncBatchNorm in training mode rejects tensors on the meta device.
    return copy.deepcopy(backbone, empty).eval()
