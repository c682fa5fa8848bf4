"""The small protocol: CIFAR-10 for a single CPU core, with part of the images and a narrow ResNet.

Of the 50,000 training images 5,000 are held out for tuning and 10,000 others train, with indices that are always the
same. A run trains to its last epoch, is evaluated once, and its result says all that it depends on.
"""

import logging
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from benchmark_method import Method, Recipe, Setup
from cifar10_benchmark import view
from cost import Cost, environment
from evaluation import DivergedError, evaluate
from lightly.models import ResNetGenerator
from loaders import device_loaders
from methods import (
    BarlowTwinsModel,
    BYOLModel,
    IMSVDModel,
    MocoModel,
    SimCLRModel,
    SSLHSICModel,
    SSLHSICNoTargetModel,
    VICRegModel,
)
from newer_methods import FroSSLModel, LeJEPAModel, MMCRModel, VISRegModel
from pytorch_lightning.callbacks import EMAWeightAveraging
from small_callbacks import Curves, StopDiverged
from torch import nn
from torch.utils.data import Subset

NUM_CLASSES = 10
WIDTH = 16  # of the backbone's first layers; it has 8 times as many features


@dataclass(frozen=True)
class Entry:
    """A method, with its default settings, learning rate and weight decay."""

    model: partial  # makes the module from a Setup and settings
    learning_rate: float = 0.12  # for a batch of 256; the GPU protocol's for all methods
    weight_decay: float = 5e-4
    views: int = 2
    trained: bool = True

    @property
    def any_number_of_views(self):
        """Whether the method takes more than two views."""
        return self.model.func.any_number_of_views


imsvd = partial(Entry, learning_rate=0.1)  # the GPU protocol's

# Widths of heads are those of the GPU protocol, whatever the width of the backbone.
ENTRIES = {
    "random": Entry(partial(Method), trained=False),
    "imsvd_k16": imsvd(partial(IMSVDModel, num_bins=16)),
    "imsvd_k32": imsvd(partial(IMSVDModel, num_bins=32)),
    "imsvd_k16_views4": imsvd(partial(IMSVDModel, num_bins=16), views=4),
    "ssl_hsic": Entry(partial(SSLHSICModel, hidden_dim=1024)),
    "ssl_hsic_no_target": Entry(partial(SSLHSICNoTargetModel, hidden_dim=1024)),
    "simclr": Entry(partial(SimCLRModel)),
    "byol": Entry(partial(BYOLModel, hidden_dim=1024)),
    "moco": Entry(partial(MocoModel, hidden_dim=512)),
    "barlowtwins": Entry(partial(BarlowTwinsModel, num_layers=2)),
    "vicreg": Entry(partial(VICRegModel)),
    "visreg": Entry(partial(VISRegModel)),
    "lejepa": Entry(partial(LeJEPAModel)),
    "frossl": Entry(partial(FroSSLModel)),
    "mmcr": Entry(partial(MMCRModel)),
}


@dataclass(frozen=True)
class Run:
    """Everything that a result depends on, but for the images and the versions of the libraries."""

    method: str
    learning_rate: float  # for a batch of 256
    weight_decay: float
    views: int = 2
    settings: dict[str, Any] = field(default_factory=dict)  # of the method, beside those of its entry
    average: float | None = None  # decay of an average of the weights over the steps, which is then evaluated
    decay_norms: bool = True  # whether biases and the weights of norms decay too
    epochs: int = 30
    batch_size: int = 256
    seed: int = 0


def row_name(run):
    """What a run is called in a table: its method, and the settings in which it differs from its entry."""
    usual = {"views": ENTRIES[run.method].views, "average": None, "decay_norms": True}
    unusual = {key: value for key, default in usual.items() if (value := getattr(run, key)) != default}
    return " ".join([run.method, *(f"{key}={value}" for key, value in {**unusual, **run.settings}.items())])


def quiet():
    """Silence Lightning's lines about devices, which every run would repeat."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)


def split_indices(images=50_000, validation=5_000, training=10_000):
    """Indices of the training images for validation and for training: always the same, and disjoint."""
    # RandomState, because its stream is the same in every version of NumPy.
    order = np.random.RandomState(0).permutation(images)
    return order[:validation].tolist(), order[validation : validation + training].tolist()


def backbone(num_splits):
    """Lightly's ResNet-9 for small images, with a width of 16 for 64 and stride 2 at its entrance."""
    resnet = ResNetGenerator("resnet-9", width=WIDTH / 64, num_splits=num_splits)
    resnet.conv1.stride = (2, 2)
    network = nn.Sequential(*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1))
    # Faster on a CPU, but not for Lightly's split batch normalisation.
    return network if num_splits else network.to(memory_format=torch.channels_last)


def make_loaders(open_split, evaluate_on, indices, batch_size, views):
    """Loaders of training views, of the training images and of the images that are evaluated, all in memory.

    Args:
        open_split: Makes a dataset of ``(image, label)`` from "train" or "test" and a transform.
        evaluate_on: "validation", which never opens the test images, or "test".
        indices: Of validation images and of training images, as from `split_indices`.
        batch_size: Images in a batch of training views.
        views: Number of views.

    Raises:
        ValueError: If there are too few images.
    """
    validation, training = indices
    if batch_size > len(training):
        raise ValueError(f"--batch-size must be at most the {len(training)} training images, got {batch_size}.")

    def open_part(part, transform):
        if part == "test" and evaluate_on == "test":
            return open_split("test", transform)
        dataset = open_split("train", transform)
        if len(dataset) <= max(*validation, *training):
            raise ValueError(f"--data must hold CIFAR-10's 50000 training images, got {len(dataset)}.")
        return Subset(dataset, training if part == "train" else validation)

    cpu = torch.device("cpu")
    return device_loaders(open_part, (view,) * views, 32, batch_size=batch_size, num_workers=0, device=cpu)


def make_model(run):
    """The module of a run.

    Raises:
        TypeError, ValueError: If the method has no such settings.
    """
    entry = ENTRIES[run.method]
    if run.views != 2 and not entry.any_number_of_views:
        raise ValueError(f"{run.method} takes two views, got {run.views}.")
    setup = Setup(
        backbone=backbone,
        dataloader_knn=None,  # the evaluation is the protocol's
        knn_k=0,
        num_classes=NUM_CLASSES,
        batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        features=8 * WIDTH,
        recipe=Recipe(run.learning_rate, run.weight_decay, run.decay_norms),
    )
    return entry.model(setup, **run.settings)


def train(run, loaders, callbacks=()):
    """Train one run and evaluate it.

    Args:
        run: What to train.
        loaders: From `make_loaders`, with the run's batch size and views.
        callbacks: More of Lightning's callbacks.

    Returns:
        The result as a dictionary of JSON's types: the run, metrics, cost, curves, and versions.

    Raises:
        DivergedError: If the loss or the features become infinite or NaN.
    """
    torch.set_num_threads(1)
    pl.seed_everything(run.seed, workers=True, verbose=False)
    model = make_model(run)
    # Again: heads draw differently, and a seed should mean the same images and views for all methods.
    pl.seed_everything(run.seed, workers=True, verbose=False)
    cost, curves = Cost(), Curves()
    if run.average is not None:
        callbacks = [*callbacks, EMAWeightAveraging(decay=run.average)]
    if ENTRIES[run.method].trained:
        trainer = pl.Trainer(
            max_epochs=run.epochs,
            accelerator="cpu",
            devices=1,
            limit_val_batches=0,  # nothing is evaluated but the final weights
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[cost, curves, StopDiverged(), *callbacks],
        )
        try:
            trainer.fit(model, loaders.train, loaders.test)
        except torch.linalg.LinAlgError as error:  # of losses that decompose a matrix
            raise DivergedError(str(error)) from error
        if trainer.interrupted:
            # Some versions of Lightning return here, and half a run is no result.
            raise KeyboardInterrupt
    return {
        "run": asdict(run),
        "cost": cost.summary(),  # before kNN, which needs more memory than training
        "metrics": evaluate(model.backbone, loaders.knn, loaders.test, NUM_CLASSES),
        "curves": curves.values,
        "environment": environment(),
    }
