"""The methods of the benchmarks: IMSVD and SSL-HSIC of this package beside Lightly's, each as its BenchmarkModule.

All share the backbone, the views, the epochs, the batch size, SGD and its learning rate, and the cosine schedule. Where
a method differs, its class says so. "Lightly's" below means Lightly's own benchmark of the same name, from which the
heads and their widths, the losses, the momenta and the memory bank of its five methods are.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from lightly.models import utils
from lightly.models.modules import heads
from lightly.utils.benchmarking import BenchmarkModule
from lightly.utils.lars import LARS
from lightly.utils.scheduler import CosineWarmupScheduler, cosine_schedule
from torch import nn

from imsvd_plugins.lightly import HSICLoss, HSICPredictionHead, HSICProjectionHead, IMSVDLoss, IMSVDProjectionHead

FEATURES = 512  # of a ResNet-18


@dataclass(frozen=True)
class Setup:
    """What all methods of a benchmark share."""

    backbone: Callable[[int], nn.Module]  # from the number of splits of its batch normalisation
    dataloader_knn: Any
    knn_k: int
    num_classes: int
    batch_size: int
    learning_rate: float  # at this batch size


class Method(BenchmarkModule):
    """Trained by SGD, and scored after each epoch by Lightly's kNN."""

    num_splits = 0
    warmup_epochs = 0

    def __init__(self, setup):
        super().__init__(setup.dataloader_knn, setup.num_classes, setup.knn_k)
        self.batch_size, self.learning_rate = setup.batch_size, setup.learning_rate
        self.backbone = setup.backbone(self.num_splits)

    def forward(self, x):
        return self.projection_head(self.backbone(x).flatten(start_dim=1))

    def loss(self, *z):
        """The criterion in float32: under autocast to bfloat16 its products would lose what it compares."""
        with torch.autocast(self.device.type, enabled=False):
            loss = self.criterion(*(z_.float() for z_ in z))
        self.log("train_loss_ssl", loss)
        return loss

    def training_step(self, batch, batch_idx):
        (x0, x1), _, _ = batch
        return self.loss(self.forward(x0), self.forward(x1))

    def validation_step(self, batch, batch_idx):
        # As for the loss: the votes of neighbours depend on small differences.
        with torch.autocast(self.device.type, enabled=False):
            super().validation_step(batch, batch_idx)

    def on_fit_start(self):
        if self.device.type == "cuda":
            self.to(memory_format=torch.channels_last)

    def make_optimizer(self, params):
        return torch.optim.SGD(params, lr=self.learning_rate, momentum=0.9, weight_decay=5e-4)

    def configure_optimizers(self):
        optim = self.make_optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])
        epochs = self.trainer.max_epochs
        if not self.warmup_epochs:
            return [optim], [torch.optim.lr_scheduler.CosineAnnealingLR(optim, epochs)]
        # No more than a tenth, so that a short run is not warm-up alone.
        warmup = min(self.warmup_epochs, epochs // 10)
        return [optim], [CosineWarmupScheduler(optim, warmup, epochs)]

    # The best accuracy is an attribute, which a checkpoint does not hold.
    def on_save_checkpoint(self, checkpoint):
        checkpoint["max_accuracy"] = self.max_accuracy

    def on_load_checkpoint(self, checkpoint):
        self.max_accuracy = checkpoint["max_accuracy"]


class MomentumMethod(Method):
    """With a target network that follows the backbone and the projection head."""

    def make_target(self):
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        utils.deactivate_requires_grad(self.backbone_momentum)
        utils.deactivate_requires_grad(self.projection_head_momentum)

    def update_target(self, momentum):
        utils.update_momentum(self.backbone, self.backbone_momentum, m=momentum)
        utils.update_momentum(self.projection_head, self.projection_head_momentum, m=momentum)

    @torch.no_grad()
    def forward_momentum(self, x):
        return self.projection_head_momentum(self.backbone_momentum(x).flatten(start_dim=1))


class IMSVDModel(Method):
    """Projector, bins, learning rate and warm-up of the paper (arXiv 2501.03469) for CIFAR-10."""

    warmup_epochs = 10

    def __init__(self, setup):
        super().__init__(setup)
        self.projection_head = IMSVDProjectionHead(FEATURES, 1024, 1024, num_layers=3)
        self.criterion = IMSVDLoss(num_bins=32)

    def make_optimizer(self, params):
        return torch.optim.SGD(params, lr=0.1 * self.batch_size / 256, momentum=0.9, weight_decay=5e-4)


class SSLHSICModel(MomentumMethod):
    """With a target network whose momentum climbs from 0.99 to 1 (arXiv 2106.08320); heads of Lightly's BYOL."""

    def __init__(self, setup, hidden_dim):
        super().__init__(setup)
        self.projection_head = HSICProjectionHead(FEATURES, hidden_dim, 256)
        self.prediction_head = HSICPredictionHead(256, hidden_dim, 256)
        self.make_target()
        self.criterion = HSICLoss()

    def training_step(self, batch, batch_idx):
        steps = int(self.trainer.estimated_stepping_batches)
        self.update_target(cosine_schedule(self.global_step, steps, start_value=0.99, end_value=1.0))
        (x0, x1), _, _ = batch
        predictions = (self.prediction_head(self.forward(x)) for x in (x0, x1))
        return self.loss(*predictions, self.forward_momentum(x0), self.forward_momentum(x1))


class BarlowTwinsModel(Method):
    """Lightly's; two linear layers for CIFAR-10, three for Imagenette."""

    def __init__(self, setup, num_layers):
        super().__init__(setup)
        widths = [FEATURES] + [2048] * (num_layers - 2)
        hidden = [(width, 2048, nn.BatchNorm1d(2048), nn.ReLU(inplace=True)) for width in widths]
        self.projection_head = heads.ProjectionHead([*hidden, (2048, 2048, None, None)])
        self.criterion = BarlowTwinsLoss()


class VICRegModel(Method):
    """Lightly's for Imagenette (CIFAR-10 has none), with its LARS, which it needs not to diverge, and its warm-up."""

    def __init__(self, setup):
        super().__init__(setup)
        self.projection_head = heads.BarlowTwinsProjectionHead(FEATURES, 2048, 2048)
        self.criterion = VICRegLoss()

    @property
    def warmup_epochs(self):
        return 40 if self.trainer.max_epochs >= 800 else 20

    def make_optimizer(self, params):
        return LARS(params, lr=0.3 * self.batch_size / 256, weight_decay=1e-4, momentum=0.9)


class SimCLRModel(Method):
    """Lightly's."""

    def __init__(self, setup):
        super().__init__(setup)
        self.projection_head = heads.SimCLRProjectionHead(FEATURES, FEATURES, 128)
        self.criterion = NTXentLoss()


class BYOLModel(MomentumMethod):
    """Lightly's, with its constant momentum of 0.99."""

    def __init__(self, setup, hidden_dim):
        super().__init__(setup)
        self.projection_head = heads.BYOLProjectionHead(FEATURES, hidden_dim, 256)
        self.prediction_head = heads.BYOLPredictionHead(256, hidden_dim, 256)
        self.make_target()
        similarity = NegativeCosineSimilarity()
        self.criterion = lambda p0, p1, z0, z1: 0.5 * (similarity(p0, z1) + similarity(p1, z0))

    def training_step(self, batch, batch_idx):
        self.update_target(0.99)
        (x0, x1), _, _ = batch
        predictions = (self.prediction_head(self.forward(x)) for x in (x0, x1))
        return self.loss(*predictions, self.forward_momentum(x0), self.forward_momentum(x1))


class MocoModel(MomentumMethod):
    """Lightly's: symmetric, with shuffled and split batch normalisation where the backbone has it."""

    num_splits = 8

    def __init__(self, setup, hidden_dim):
        super().__init__(setup)
        self.projection_head = heads.MoCoProjectionHead(FEATURES, hidden_dim, 128)
        self.make_target()
        # Lightly's note: a bank of 4096 changes too quickly at a batch size of 512.
        bank = 8192 if setup.batch_size >= 512 else 4096
        self.criterion = NTXentLoss(temperature=0.1, memory_bank_size=(bank, 128))

    def training_step(self, batch, batch_idx):
        self.update_target(0.99)
        (x0, x1), _, _ = batch

        def step(x0_, x1_):
            x1_, shuffle = utils.batch_shuffle(x1_)
            return self.forward(x0_), utils.batch_unshuffle(self.forward_momentum(x1_), shuffle)

        return 0.5 * (self.loss(*step(x0, x1)) + self.loss(*step(x1, x0)))

    # Lightly's bank is no part of the module's state.
    def on_save_checkpoint(self, checkpoint):
        super().on_save_checkpoint(checkpoint)
        bank = self.criterion.memory_bank
        checkpoint["memory_bank"] = bank.bank, bank.bank_ptr

    def on_load_checkpoint(self, checkpoint):
        super().on_load_checkpoint(checkpoint)
        bank = self.criterion.memory_bank
        bank.bank, bank.bank_ptr = (part.to(self.device) for part in checkpoint["memory_bank"])
