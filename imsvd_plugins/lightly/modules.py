"""Both methods as LightningModules, of the form that Lightly's ImageNet benchmark takes into its table."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from lightly.models.modules.heads import ProjectionHead
from lightly.models.utils import deactivate_requires_grad, get_weight_decay_parameters, update_momentum
from lightly.utils.benchmarking import OnlineLinearClassifier
from lightly.utils.lars import LARS
from lightly.utils.scheduler import CosineWarmupScheduler, cosine_schedule
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from imsvd_plugins.functional import HSICTerms, IMSVDTerms
from imsvd_plugins.functional.discretization import check_num_bins
from imsvd_plugins.lightly.backbones import ResNet
from imsvd_plugins.lightly.heads import HSICPredictionHead, HSICProjectionHead, IMSVDProjectionHead
from imsvd_plugins.lightly.transforms import HSICTransform, IMSVDTransform
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

Batch = Sequence[Any]  # views, labels and, from a LightlyDataset, file names
MakeOptimizer = Callable[[Any], Optimizer]  # from parameter groups
MakeScheduler = Callable[[Optimizer], LRScheduler]


class _SelfSupervisedModule(LightningModule):
    """What both methods share: the backbone, the online linear classifier, the optimizer and its schedule."""

    method: ClassVar[str]
    learning_rate: ClassVar[float]  # peak, at a global batch of 256

    def __init__(
        self,
        batch_size_per_device: int,
        num_classes: int,
        backbone: nn.Module | None,
        projection_head: ProjectionHead,
        warmup_epochs: int,
        optimizer: MakeOptimizer | None,
        decay_norms_and_biases: bool,
        lr_scheduler: MakeScheduler | None,
    ) -> None:
        super().__init__()
        self.batch_size_per_device = batch_size_per_device
        self.warmup_epochs = warmup_epochs
        self.make_optimizer = optimizer
        self.decay_norms_and_biases = decay_norms_and_biases
        self.make_scheduler = lr_scheduler
        self.backbone = ResNet(50) if backbone is None else backbone
        self.projection_head = projection_head
        self.online_classifier = OnlineLinearClassifier(
            feature_dim=projection_head.layers[0].in_features, num_classes=num_classes
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features of images."""
        features: Tensor = self.backbone(x)
        return features

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Score the online classifier on labelled images."""
        images, targets = batch[0], batch[1]
        features = self(images).flatten(start_dim=1)
        loss, log = self.online_classifier.validation_step((features, targets), batch_idx)
        self.log_dict(log, prog_bar=True, sync_dist=True, batch_size=len(targets))
        return loss  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule; the online classifier has no weight decay."""
        params, params_no_weight_decay = get_weight_decay_parameters(
            self._trained_networks(),
            decay_norm=self.decay_norms_and_biases,
            decay_bias=self.decay_norms_and_biases,
        )
        groups = [
            {"name": self.method, "params": params},
            # Lightly's LARS adapts nothing that has no weight decay.
            {"name": f"{self.method}_no_weight_decay", "params": params_no_weight_decay, "weight_decay": 0.0},
            {"name": "online_classifier", "params": self.online_classifier.parameters(), "weight_decay": 0.0},
        ]
        if self.make_optimizer is not None:
            optimizer = self.make_optimizer(groups)
        else:
            learning_rate = self.learning_rate * self.batch_size_per_device * self.trainer.world_size / 256
            optimizer = LARS(groups, lr=learning_rate, momentum=0.9, weight_decay=1e-6)
        if self.make_scheduler is not None:
            return [optimizer], [self.make_scheduler(optimizer)]
        return [optimizer], [{"scheduler": self._warmup_and_cosine(optimizer), "interval": "step"}]

    def _warmup_and_cosine(self, optimizer: Optimizer) -> LRScheduler:
        """Linear warm-up, and cosine to 0.001 of the peak at the last step."""
        steps = int(self.trainer.estimated_stepping_batches)
        if math.isinf(self.trainer.num_training_batches):
            raise ValueError(
                f"warmup_epochs = {self.warmup_epochs} needs epochs of a known length: give the training data loader a "
                "length, the trainer a limit_train_batches, or the model an lr_scheduler."
            )
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        warmup = self.warmup_epochs * steps_per_epoch
        if warmup > steps:
            rank_zero_warn(
                f"warmup_epochs = {self.warmup_epochs} is longer than the training, {steps / steps_per_epoch:g} "
                "epochs: the learning rate rises through all of it."
            )
        scheduler: LRScheduler = CosineWarmupScheduler(optimizer, warmup_epochs=min(warmup, steps), max_epochs=steps)
        return scheduler

    def _trained_networks(self) -> list[nn.Module]:
        return [self.backbone, self.projection_head]

    def _log_and_total(
        self, terms: IMSVDTerms | HSICTerms, features: Tensor, targets: Tensor, batch_idx: int
    ) -> Tensor:
        """Log the terms and train the online classifier, from whose loss no gradient reaches the backbone."""
        settings: dict[str, Any] = {"sync_dist": True, "batch_size": len(targets)}
        log = {f"train_{name}": value for name, value in terms._asdict().items()}
        self.log("train_loss", log.pop("train_loss"), prog_bar=True, **settings)
        self.log_dict(log, **settings)
        classifier_loss, classifier_log = self.online_classifier.training_step((features.detach(), targets), batch_idx)
        self.log_dict(classifier_log, **settings)
        total: Tensor = terms.loss + classifier_loss
        return total


class IMSVD(_SelfSupervisedModule):
    """IMSVD (Niu, Xia, Shan, Wang, arXiv 2501.03469) with the paper's ImageNet recipe.

    LARS at 0.6 for a batch of 256, weight decay 1e-6, momentum 0.9. Logged: ``train_loss`` and, unweighted,
    ``train_diagonal``, ``train_off_diagonal``, ``train_invariance``; the online classifier's as Lightly names them.

    Args:
        batch_size_per_device: Images a device and step; the learning rate scales with the global batch.
        num_classes: Classes of the online linear classifier, at least 5 (it reports top-5).
        backbone: Images to features ``(N, d)`` or ``(N, d, 1, 1)``; None for ResNet-50 with zero-initialised residuals.
        projection_head: None for the paper's, from 2048 features to 8160 logits.
        criterion: None for the paper's, 80 bins, over the batch of all devices.
        warmup_epochs: Epochs of linear warm-up; a shorter training is warm-up alone, up to the peak.
        optimizer: Makes the optimizer from parameter groups, such as ``functools.partial(SGD, lr=0.2)``; None for the
            paper's.
        decay_norms_and_biases: Whether the optimizer's weight decay is theirs too. LARS adapts what decays.
        lr_scheduler: Makes the schedule from the optimizer, a step an epoch; None for warm-up and cosine.

    Raises:
        ValueError: If the criterion's ``num_bins`` does not divide the projection head's width.
    """

    method = "imsvd"
    learning_rate = 0.6

    def __init__(
        self,
        batch_size_per_device: int,
        num_classes: int,
        *,
        backbone: nn.Module | None = None,
        projection_head: IMSVDProjectionHead | None = None,
        criterion: IMSVDLoss | None = None,
        warmup_epochs: int = 10,
        optimizer: MakeOptimizer | None = None,
        decay_norms_and_biases: bool = False,
        lr_scheduler: MakeScheduler | None = None,
    ) -> None:
        projection_head = projection_head or IMSVDProjectionHead()
        super().__init__(
            batch_size_per_device,
            num_classes,
            backbone,
            projection_head,
            warmup_epochs,
            optimizer,
            decay_norms_and_biases,
            lr_scheduler,
        )
        self.save_hyperparameters(ignore=["backbone", "projection_head", "criterion", "optimizer", "lr_scheduler"])
        self.criterion = criterion or IMSVDLoss(num_bins=80, gather_distributed=True)
        check_num_bins(self.criterion.num_bins, projection_head.layers[-1].out_features)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of two or more views, each normalised by its own batch statistics, and of the online classifier."""
        views, targets = batch[0], batch[1]
        features = [self(view).flatten(start_dim=1) for view in views]
        terms = self.criterion.forward_components(*(self.projection_head(feature) for feature in features))
        return self._log_and_total(terms, features[0], targets, batch_idx)


class SSLHSIC(_SelfSupervisedModule):
    """SSL-HSIC (Li et al., NeurIPS 2021, arXiv 2106.08320) with a target network and the paper's recipe.

    LARS at 0.4 for a batch of 256, weight decay 1e-6, momentum 0.9. The loss takes four sets of vectors: the online
    predictions and the target projections of both views. The target follows the online network by an average whose
    momentum goes from 0.99 to 1 by cosine. Logged: ``train_loss`` and, unweighted, ``train_hsic_zy``,
    ``train_hsic_zz`` and ``train_scale``; the online classifier's as Lightly names them. The paper evaluates an average
    of the weights: give the trainer Lightning's ``EMAWeightAveraging(decay=0.999)``.

    Args:
        batch_size_per_device: Images a device and step; the learning rate scales with the global batch.
        num_classes: Classes of the online linear classifier, at least 5 (it reports top-5).
        backbone: Images to features ``(N, d)`` or ``(N, d, 1, 1)``; None for ResNet-50 with zero-initialised residuals.
        projection_head: None for the paper's, from 2048 features to 256.
        prediction_head: None for the paper's, from 256 to 256.
        criterion: None for the paper's, with 512 random features, over the batch of all devices.
        warmup_epochs: Epochs of linear warm-up; a shorter training is warm-up alone, up to the peak.
        optimizer: Makes the optimizer from parameter groups, such as ``functools.partial(SGD, lr=0.2)``; None for the
            paper's.
        decay_norms_and_biases: Whether the optimizer's weight decay is theirs too. LARS adapts what decays.
        lr_scheduler: Makes the schedule from the optimizer, a step an epoch; None for warm-up and cosine.
    """

    method = "ssl_hsic"
    learning_rate = 0.4

    def __init__(
        self,
        batch_size_per_device: int,
        num_classes: int,
        *,
        backbone: nn.Module | None = None,
        projection_head: HSICProjectionHead | None = None,
        prediction_head: HSICPredictionHead | None = None,
        criterion: HSICLoss | None = None,
        warmup_epochs: int = 10,
        optimizer: MakeOptimizer | None = None,
        decay_norms_and_biases: bool = False,
        lr_scheduler: MakeScheduler | None = None,
    ) -> None:
        projection_head = projection_head or HSICProjectionHead()
        super().__init__(
            batch_size_per_device,
            num_classes,
            backbone,
            projection_head,
            warmup_epochs,
            optimizer,
            decay_norms_and_biases,
            lr_scheduler,
        )
        self.save_hyperparameters(
            ignore=["backbone", "projection_head", "prediction_head", "criterion", "optimizer", "lr_scheduler"]
        )
        self.prediction_head = prediction_head or HSICPredictionHead()
        self.criterion = criterion or HSICLoss(gather_distributed=True)
        self.target_backbone = copy.deepcopy(self.backbone)
        self.target_projection_head = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.target_backbone)
        deactivate_requires_grad(self.target_projection_head)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of the predictions and target projections of two views, and of the online classifier."""
        (view_a, view_b), targets = batch[0], batch[1]
        features_a, features_b = (self(view).flatten(start_dim=1) for view in (view_a, view_b))
        predictions = (self.prediction_head(self.projection_head(features)) for features in (features_a, features_b))
        projections = (self.forward_target(view) for view in (view_a, view_b))
        terms = self.criterion.forward_components(*predictions, *projections)
        return self._log_and_total(terms, features_a, targets, batch_idx)

    @torch.no_grad()
    def forward_target(self, x: Tensor) -> Tensor:
        """Target projections ``(N, 256)`` of images."""
        projections: Tensor = self.target_projection_head(self.target_backbone(x).flatten(start_dim=1))
        return projections

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the online network, then let the target follow, once also where gradients are accumulated."""
        step = self.trainer.global_step
        super().optimizer_step(*args, **kwargs)
        momentum = cosine_schedule(step, int(self.trainer.estimated_stepping_batches), start_value=0.99, end_value=1.0)
        update_momentum(self.backbone, self.target_backbone, m=momentum)
        update_momentum(self.projection_head, self.target_projection_head, m=momentum)

    def _trained_networks(self) -> list[nn.Module]:
        return [*super()._trained_networks(), self.prediction_head]


METHODS = {
    "imsvd": {"model": IMSVD, "transform": IMSVDTransform()},
    "ssl_hsic": {"model": SSLHSIC, "transform": HSICTransform()},
}
