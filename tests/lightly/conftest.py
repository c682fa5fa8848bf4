"""Small data and networks, so that the LightningModules train in seconds on the CPU."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from imsvd_plugins.lightly import (
    IMSVD,
    SSLHSIC,
    HSICLoss,
    HSICPredictionHead,
    HSICProjectionHead,
    IMSVDLoss,
    IMSVDProjectionHead,
)

BATCH, IMAGES, CLASSES = 8, 32, 10


def _backbone():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=4), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def _imsvd():
    return IMSVD(
        BATCH,
        CLASSES,
        backbone=_backbone(),
        projection_head=IMSVDProjectionHead(6, 16, 16),
        criterion=IMSVDLoss(num_bins=4),
        warmup_epochs=1,
    )


def _ssl_hsic():
    return SSLHSIC(
        BATCH,
        CLASSES,
        backbone=_backbone(),
        projection_head=HSICProjectionHead(6, 16, 5),
        prediction_head=HSICPredictionHead(5, 16, 5),
        criterion=HSICLoss(num_features=32),
        warmup_epochs=1,
    )


@pytest.fixture
def small_model():
    """Makes the small model of a method of `METHODS`, with the same weights each time."""

    def make(method):
        torch.manual_seed(0)
        return {"imsvd": _imsvd, "ssl_hsic": _ssl_hsic}[method]()

    return make


@pytest.fixture
def loaders():
    """Loaders of training batches (views, labels, names) and of validation batches (images, labels, names)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, 3, 16, 16, generator=generator)
    views = images + 0.1 * torch.randn(2, *images.shape, generator=generator)
    train = [([views[0, i], views[1, i]], i % CLASSES, f"{i}.png") for i in range(IMAGES)]
    val = [(images[i], i % CLASSES, f"{i}.png") for i in range(IMAGES)]
    return [DataLoader(data, batch_size=BATCH) for data in (train, val)]


@pytest.fixture
def make_trainer(tmp_path):
    """Makes a quiet trainer on the CPU."""

    def make(**settings):
        return pl.Trainer(
            **{
                "accelerator": "cpu",
                "devices": 1,
                "default_root_dir": tmp_path,
                "logger": False,
                "log_every_n_steps": 1,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                **settings,
            }
        )

    return make
