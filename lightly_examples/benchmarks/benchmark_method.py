"""What the methods have in common: Lightly's BenchmarkModule trained by SGD, and a target network."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightly.models import utils
from lightly.utils.benchmarking import BenchmarkModule
from lightly.utils.scheduler import CosineWarmupScheduler
from torch import nn


@dataclass(frozen=True)
class Recipe:
    """One optimizer and schedule for all methods: SGD, a warm-up over a tenth of the steps, then a cosine."""

    learning_rate: float  # for a batch of 256
    weight_decay: float
    decay_norms: bool = True  # whether biases and the weights of norms decay too


@dataclass(frozen=True)
class Setup:
    """What all methods of a benchmark share."""

    backbone: Callable[[int], nn.Module]  # from the number of splits of its batch normalisation
    dataloader_knn: Any
    knn_k: int
    num_classes: int
    batch_size: int
    learning_rate: float  # at this batch size
    features: int = 512  # of the backbone; a ResNet-18 has 512
    recipe: Recipe | None = None  # in place of the methods' own optimizers and schedules


class Method(BenchmarkModule):
    """A self-supervised method, trained by SGD unless its class or the setup's recipe says otherwise."""

    num_splits = 0
    warmup_epochs = 0
    any_number_of_views = False  # exactly two

    def __init__(self, setup):
        super().__init__(setup.dataloader_knn, setup.num_classes, setup.knn_k)
        self.batch_size, self.learning_rate, self.recipe = setup.batch_size, setup.learning_rate, setup.recipe
        self.backbone = setup.backbone(self.num_splits)

    def forward(self, x):
        return self.projection_head(self.backbone(x).flatten(start_dim=1))

    def loss(self, *z):
        """The criterion in float32: under autocast to bfloat16 its products would lose what it compares."""
        with torch.autocast(self.device.type, enabled=False):
            terms = self.terms(*(z_.float() for z_ in z))
        loss = terms.pop("loss")
        means = {"train_loss_ssl": loss, **{f"train_{name}": term for name, term in terms.items()}}
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=len(z[0]))
        return loss

    def terms(self, *z):
        """The loss, and whatever else is worth a curve, by name."""
        return {"loss": self.criterion(*z)}

    def training_step(self, batch, batch_idx):
        views, _, _ = batch
        return self.loss(*(self.forward(x) for x in views))

    def validation_step(self, batch, batch_idx):
        # As for the loss: the votes of neighbours depend on small differences.
        with torch.autocast(self.device.type, enabled=False):
            super().validation_step(batch, batch_idx)

    def on_fit_start(self):
        if self.device.type == "cuda" and not self.num_splits:
            self.to(memory_format=torch.channels_last)

    def make_optimizer(self, params):
        return torch.optim.SGD(params, lr=self.learning_rate, momentum=0.9, weight_decay=5e-4)

    def configure_optimizers(self):
        params = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if self.recipe is not None:
            return self.configure_recipe(params)
        optim = self.make_optimizer(params)
        epochs = self.trainer.max_epochs
        if not self.warmup_epochs:
            return [optim], [torch.optim.lr_scheduler.CosineAnnealingLR(optim, epochs)]
        # No more than a tenth, so that a short run is not warm-up alone.
        warmup = min(self.warmup_epochs, epochs // 10)
        return [optim], [CosineWarmupScheduler(optim, warmup, epochs)]

    def configure_recipe(self, params):
        groups = [{"params": params}]
        if not self.recipe.decay_norms:
            # A target network has parameters too, which are not trained.
            decayed, rest = utils.get_weight_decay_parameters([self])
            groups = [
                {"params": [parameter for parameter in decayed if parameter.requires_grad]},
                {"params": [parameter for parameter in rest if parameter.requires_grad], "weight_decay": 0.0},
            ]
        optim = torch.optim.SGD(
            groups,
            lr=self.recipe.learning_rate * self.batch_size / 256,
            momentum=0.9,
            weight_decay=self.recipe.weight_decay,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = CosineWarmupScheduler(optim, steps // 10, steps)
        return [optim], [{"scheduler": scheduler, "interval": "step"}]

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
