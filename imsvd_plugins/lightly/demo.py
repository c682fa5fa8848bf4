"""Lightly's half of `imsvd-plugins demo`: pretraining on scikit-learn's digits with this package's LightningModules."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightly.utils.scheduler import CosineWarmupScheduler
from lightning_fabric.utilities.warnings import PossibleUserWarning
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2 as T

from imsvd_plugins._demo_run import DemoRun
from imsvd_plugins.digits import NUM_CLASSES, load_digits
from imsvd_plugins.lightly.heads import HSICPredictionHead, HSICProjectionHead, IMSVDProjectionHead
from imsvd_plugins.lightly.modules import IMSVD, SSLHSIC
from imsvd_plugins.lightly.transforms import HSICTransform, IMSVDTransform
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

EPOCHS = 60
_BATCH = 256
_WIDTHS = (32, 64, 128, 128)

_to_tensor = T.Compose([T.ToImage(), T.ToDtype(torch.float32, scale=True), T.Normalize([0.5] * 3, [0.5] * 3)])
# A mirrored digit is another one or none, and all are grey: only the pen's slant, place and size vary.
_view = T.Compose([T.RandomAffine(15, translate=(0.1, 0.1), scale=(0.8, 1.2), shear=10), _to_tensor])


def pretrain(method: str, work_dir: Path, *, resume: bool, epochs: int | None) -> DemoRun:
    """Pretrain a small network on the training digits, without their labels.

    Args:
        method: "imsvd" or "ssl-hsic".
        work_dir: Folder of the checkpoint and the log.
        resume: Whether to go on from the checkpoint in ``work_dir``; where there is none, training starts anew.
        epochs: Epochs of the whole training; None for the recipe's 60. A resumed one keeps the learning rates that
            were planned at its start.

    Returns:
        Features before and after, curves, and where checkpoint and log are.

    Raises:
        ValueError: If ``method`` is unknown.
    """
    if method not in _MODELS:
        raise ValueError(f"method must be one of {', '.join(_MODELS)}, got {method!r}.")
    make_model, transform = _MODELS[method]
    seed_everything(0, workers=True)
    model = make_model()
    random_features = _features(model)

    checkpoints = ModelCheckpoint(work_dir / "checkpoints", filename="last", enable_version_counter=False)
    last = work_dir / "checkpoints" / "last.ckpt"
    if resume and not last.exists():
        rank_zero_info(f"There is no checkpoint {last}: training starts anew.")
    logger = CSVLogger(work_dir, name="logs")
    curves = _Curves()
    trainer = Trainer(
        max_epochs=EPOCHS if epochs is None else epochs,
        devices=1,
        logger=logger,
        log_every_n_steps=1,
        callbacks=[curves, checkpoints],
    )
    loader = DataLoader(
        _Digits("train", transform), _BATCH, shuffle=True, drop_last=True, num_workers=1, persistent_workers=True
    )
    with warnings.catch_warnings():
        # Advice for larger runs, on loader workers and validation; and that last.ckpt is replaced is meant.
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        trainer.fit(model, loader, ckpt_path=last if resume and last.exists() else None)
    return DemoRun(random_features, _features(model), curves.curves, last, Path(logger.log_dir))


class _Digits(Dataset[tuple[Any, int]]):
    """The digits as PIL images, for a transform like any other images."""

    def __init__(self, split: str, transform: Callable[[Image.Image], Any]) -> None:
        images, labels = load_digits(split)
        self.images = [Image.fromarray(image) for image in images]
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), self.labels[index]


class _Curves(Callback):
    """Keeps each epoch's mean of the loss and its terms, in the checkpoint too."""

    def __init__(self) -> None:
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

    def state_dict(self) -> dict[str, Any]:
        return {"curves": self.curves}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curves = state_dict["curves"]


@torch.no_grad()
def _features(model: nn.Module) -> tuple[Tensor, Tensor]:
    """The backbone's features of the training and of the test images, in their order."""
    model.eval()
    features = []
    for split in ("train", "test"):
        batches = DataLoader(_Digits(split, _to_tensor), _BATCH)
        features.append(torch.cat([model(images) for images, _ in batches]).flatten(start_dim=1))
    model.train()
    return features[0], features[1]


def _backbone() -> nn.Module:
    """Images ``(N, 3, 16, 16)`` to features ``(N, 128)``."""
    layers: list[nn.Module] = []
    for fan_in, width, stride in zip((3, *_WIDTHS), _WIDTHS, (2, 2, 2, 1), strict=False):
        layers += [nn.Conv2d(fan_in, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class _SmallBatchRecipe(LightningModule):
    """AdamW with a tenth of warm-up and cosine: LARS is for large batches and trains long."""

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=5e-3, weight_decay=1e-4)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = CosineWarmupScheduler(optimizer, warmup_epochs=steps // 10, max_epochs=steps)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class _DigitsIMSVD(_SmallBatchRecipe, IMSVD):
    pass


class _DigitsSSLHSIC(_SmallBatchRecipe, SSLHSIC):
    pass


def _imsvd() -> LightningModule:
    return _DigitsIMSVD(
        _BATCH,
        NUM_CLASSES,
        backbone=_backbone(),
        projection_head=IMSVDProjectionHead(_WIDTHS[-1], 512, 512),
        criterion=IMSVDLoss(num_bins=16),
    )


def _ssl_hsic() -> LightningModule:
    return _DigitsSSLHSIC(
        _BATCH,
        NUM_CLASSES,
        backbone=_backbone(),
        projection_head=HSICProjectionHead(_WIDTHS[-1], 512, 128),
        prediction_head=HSICPredictionHead(128, 512, 128),
        criterion=HSICLoss(),
    )


_MODELS = {"imsvd": (_imsvd, IMSVDTransform(_view, _view)), "ssl-hsic": (_ssl_hsic, HSICTransform(_view, _view))}
