"""Lightly's part of `imsvd-plugins demo`: pretraining on scikit-learn's digits with this package's LightningModules."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.utilities.warnings import PossibleUserWarning
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from imsvd_plugins.commands.demo.demo_run import DemoRun, OnEpoch
from imsvd_plugins.data.digits import NUM_CLASSES
from imsvd_plugins.lightly.backbones import SmallCNN
from imsvd_plugins.lightly.data import Digits, DigitsDataModule, digit_to_tensor
from imsvd_plugins.lightly.heads import HSICPredictionHead, HSICProjectionHead, IMSVDProjectionHead
from imsvd_plugins.lightly.modules import IMSVD, SSLHSIC
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

EPOCHS = 60
_BATCH = 256


def pretrain(method: str, work_dir: Path, *, resume: bool, epochs: int | None, on_epoch: OnEpoch) -> DemoRun:
    """Pretrain a small network on the training digits, without their labels.

    Args:
        method: "imsvd" or "ssl-hsic".
        work_dir: Folder of the checkpoint and the log.
        resume: Whether to resume from the checkpoint in ``work_dir``; without one, training starts from scratch.
        epochs: Epochs of the whole training; None for the recipe's 60. A resumed run follows this length's schedule.
        on_epoch: Called after each epoch.

    Returns:
        Features before and after pretraining, the curves, and the paths of checkpoint and log.

    Raises:
        ValueError: If ``method`` is unknown.
    """
    if method not in _MODELS:
        raise ValueError(f"method must be one of {', '.join(_MODELS)}, got {method!r}.")
    epochs = EPOCHS if epochs is None else epochs
    seed_everything(0, workers=True, verbose=False)
    # LARS is for large batches and long training.
    recipe = {"optimizer": partial(torch.optim.AdamW, lr=5e-3, weight_decay=1e-4), "warmup_epochs": epochs // 10}
    model = _MODELS[method](recipe)
    random_features = _features(model)

    checkpoints = ModelCheckpoint(work_dir / "checkpoints", filename="last", enable_version_counter=False)
    last = work_dir / "checkpoints" / "last.ckpt"
    if resume and not last.exists():
        print(f"No checkpoint {last}: the training starts anew.")
    logger = CSVLogger(work_dir, name="logs")
    curves = _Curves(on_epoch)
    with _quiet(), warnings.catch_warnings():
        # The advice on loader workers and validation is for larger runs, and last.ckpt is replaced on purpose.
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")  # Lightning's own call
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        trainer = Trainer(
            max_epochs=epochs,
            devices=1,
            logger=logger,
            log_every_n_steps=1,
            limit_val_batches=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[curves, checkpoints],
        )
        trainer.fit(model, DigitsDataModule(_BATCH), ckpt_path=last if resume and last.exists() else None)
    return DemoRun(random_features, _features(model), curves.curves, last, Path(logger.log_dir))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave the terminal to the progress display and to warnings."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Curves(Callback):
    """Keeps each epoch's mean of the loss and its terms, in the checkpoint too."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self._on_epoch = on_epoch
        self.curves: dict[str, list[float]] = {}
        self._batches: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self._batches.append(
            {
                name.removeprefix("train_"): float(value)
                for name, value in trainer.callback_metrics.items()
                if not name.startswith("train_online_cls")
            }
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name in self._batches[0]:
            mean = sum(batch[name] for batch in self._batches) / len(self._batches)
            self.curves.setdefault(name, []).append(mean)
        self._batches.clear()
        self._on_epoch(trainer.current_epoch + 1, int(trainer.max_epochs or 0), self.curves["loss"][-1])

    def state_dict(self) -> dict[str, Any]:
        return {"curves": self.curves}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curves = state_dict["curves"]


@torch.no_grad()
def _features(model: nn.Module) -> tuple[Tensor, Tensor]:
    """The backbone's features of the training and of the test images, in order."""
    model.eval()
    features = []
    for split in ("train", "test"):
        batches = DataLoader(Digits(split, digit_to_tensor), _BATCH)
        features.append(torch.cat([model(images) for images, _ in batches]).flatten(start_dim=1))
    model.train()
    return features[0], features[1]


def _imsvd(recipe: dict[str, Any]) -> LightningModule:
    return IMSVD(
        _BATCH,
        NUM_CLASSES,
        backbone=SmallCNN(),
        projection_head=IMSVDProjectionHead(128, 512, 512),
        criterion=IMSVDLoss(num_bins=16),
        **recipe,
    )


def _ssl_hsic(recipe: dict[str, Any]) -> LightningModule:
    return SSLHSIC(
        _BATCH,
        NUM_CLASSES,
        backbone=SmallCNN(),
        projection_head=HSICProjectionHead(128, 512, 128),
        prediction_head=HSICPredictionHead(128, 512, 128),
        criterion=HSICLoss(),
        **recipe,
    )


_MODELS = {"imsvd": _imsvd, "ssl-hsic": _ssl_hsic}
