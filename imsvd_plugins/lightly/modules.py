"""Both methods as LightningModules, in the form that Lightly's ImageNet benchmark takes into its table."""

import copy
from typing import Any

import torch
from lightly.models.modules.heads import ProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from imsvd_plugins.functional.discretization import check_num_bins
from imsvd_plugins.functional.multi_crop import largest_views
from imsvd_plugins.lightly.errors import SettingsError
from imsvd_plugins.lightly.heads import HSICPredictionHead, HSICProjectionHead, IMSVDProjectionHead
from imsvd_plugins.lightly.self_supervised import (
    Batch,
    MakeOptimizer,
    MakeScheduler,
    SelfSupervisedModule,
    check_criterion,
)
from imsvd_plugins.lightly.transforms import HSICTransform, IMSVDTransform
from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.training.chunks import in_chunks


class IMSVD(SelfSupervisedModule):
    """IMSVD (Niu, Xia, Shan, Wang, arXiv 2501.03469) with the paper's ImageNet recipe.

    LARS with rate 0.6 for a batch of 256, weight decay 1e-6, momentum 0.9. The module logs ``train_loss`` and,
    unweighted, ``train_diagonal``, ``train_off_diagonal`` and ``train_invariance``. The online classifier's metrics
    have Lightly's names.
    ``IMSVD.load_from_checkpoint(file, weights_only=True)`` rebuilds a module that LightningCLI trained, networks
    included, because the file holds its config. It imports and calls the classes that the config names, so load only
    files whose class paths you would run. For a module made in Python, pass the networks and the criterion again.

    Args:
        batch_size_per_device: Images per device and step. The paper's learning rate scales with the global batch. The
            rate of an ``optimizer`` does not scale; with an ``optimizer`` this may be None.
        num_classes: Classes of the online linear classifier, which reports top-1 and, for five or more classes, top-5;
            None for no such classifier and images without labels.
        backbone: Images to features ``(N, d)`` or ``(N, d, 1, 1)``; None for ResNet-50 with zero-initialised residuals.
        projection_head: None for the paper's, from 2048 features to 8160 logits.
        criterion: A loss with ``forward_components(*z_views)``, which returns a named tuple with the ``loss``; None for
            the paper's, 80 bins, over the batch of all devices.
        warmup_epochs: Epochs of linear warm-up; a shorter training is all warm-up, up to the peak.
        optimizer: Makes the optimizer from parameter groups, such as ``functools.partial(SGD, lr=0.2)``; None for the
            paper's.
        decay_norms_and_biases: Whether weight decay applies to norms and biases too. LARS adapts only decayed
            parameters.
        lr_scheduler: Makes the schedule from the optimizer, one step per epoch; None for warm-up and cosine.
        check_finite: Whether NaN or infinite views, loss or terms stop the training with a
            :class:`~imsvd_plugins.training.finite.NonFiniteError`, at most 50 steps later and before a
            checkpoint is written.
        chunk_size: Images that pass through the networks at a time; None for the whole batch. The loss and its exact
            gradient are of the whole batch, in the memory of a chunk: see
            :func:`~imsvd_plugins.training.chunks.in_chunks`.

    Raises:
        ValueError: If the criterion's ``num_bins`` does not divide the projection head's width, or equals it, which
            leaves a single variable.
    """

    method = "imsvd"
    learning_rate = 0.6

    def __init__(
        self,
        batch_size_per_device: int | None,
        num_classes: int | None,
        *,
        backbone: nn.Module | None = None,
        projection_head: ProjectionHead | None = None,
        criterion: nn.Module | None = None,
        warmup_epochs: int = 10,
        optimizer: MakeOptimizer | None = None,
        decay_norms_and_biases: bool = False,
        lr_scheduler: MakeScheduler | None = None,
        check_finite: bool = True,
        chunk_size: int | None = None,
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
            check_finite,
            chunk_size,
        )
        self.criterion = check_criterion(criterion or IMSVDLoss(num_bins=80, gather_distributed=True))
        num_bins = getattr(self.criterion, "num_bins", None)  # another package's loss may have none
        if num_bins is None:
            return
        width = projection_head.layers[-1].out_features
        check_num_bins(num_bins, width)
        if num_bins == width:
            raise ValueError(
                f"num_bins = {width} of as many outputs of projection_head make a single variable, and IMSVD is of "
                "pairs of them: take a smaller num_bins or a larger output_dim."
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of two or more views plus the online classifier's. Each view has its own batch statistics."""

        def project(view: Tensor) -> tuple[Tensor, Tensor]:
            features = self.features(view)
            return features, self.projection_head(features)

        networks = (self.backbone, self.projection_head)
        features, projections = zip(
            *(in_chunks(project, view, self.chunk_size, networks) for view in batch[0]), strict=True
        )
        terms = self.criterion.forward_components(*projections)
        self.watch(batch[0], terms)
        return self.log_and_total(terms, features[0], batch, batch_idx)


class SSLHSIC(SelfSupervisedModule):
    """SSL-HSIC (Li et al., NeurIPS 2021, arXiv 2106.08320) with a target network and the paper's recipe.

    LARS with rate 0.4 for a batch of 256, weight decay 1e-6, momentum 0.9. The loss takes four sets of vectors: the
    online predictions and the target projections of both views. With multi-crop, which is beyond the paper, it takes
    the predictions of all views and the target projections of the largest, so small crops predict whole images and not
    the reverse. The target network is a moving average of the online network; its momentum rises from 0.99 to 1 by a
    cosine. The module logs ``train_loss`` and, unweighted, ``train_hsic_zy``, ``train_hsic_zz`` and ``train_scale``.
    The online classifier's metrics have Lightly's names. The paper evaluates an average of the weights: give the
    trainer ``EMAWeightAveraging(decay=0.999)``, which Lightning has since 2.6.
    ``load_from_checkpoint`` works as for :class:`~imsvd_plugins.lightly.IMSVD`, and the same caution applies.

    Args:
        batch_size_per_device: Images per device and step. The paper's learning rate scales with the global batch. The
            rate of an ``optimizer`` does not scale; with an ``optimizer`` this may be None.
        num_classes: Classes of the online linear classifier, which reports top-1 and, for five or more classes, top-5;
            None for no such classifier and images without labels.
        backbone: Images to features ``(N, d)`` or ``(N, d, 1, 1)``; None for ResNet-50 with zero-initialised residuals.
        projection_head: None for the paper's, from 2048 features to 256.
        prediction_head: None for the paper's, from 256 to 256.
        criterion: As for :class:`IMSVD`; None for the paper's, with 512 random features, over the batch of all devices.
        warmup_epochs: Epochs of linear warm-up; a shorter training is all warm-up, up to the peak.
        optimizer: Makes the optimizer from parameter groups, such as ``functools.partial(SGD, lr=0.2)``; None for the
            paper's.
        decay_norms_and_biases: Whether weight decay applies to norms and biases too. LARS adapts only decayed
            parameters.
        lr_scheduler: Makes the schedule from the optimizer, one step per epoch; None for warm-up and cosine.
        check_finite: Whether NaN or infinite views, loss or terms stop the training with a
            :class:`~imsvd_plugins.training.finite.NonFiniteError`, at most 50 steps later and before a
            checkpoint is written.
        chunk_size: Images that pass through the networks at a time; None for the whole batch. The loss and its exact
            gradient are of the whole batch, in the memory of a chunk: see
            :func:`~imsvd_plugins.training.chunks.in_chunks`.

    Raises:
        ValueError: If the widths of the two heads do not match.
    """

    method = "ssl_hsic"
    learning_rate = 0.4

    def __init__(
        self,
        batch_size_per_device: int | None,
        num_classes: int | None,
        *,
        backbone: nn.Module | None = None,
        projection_head: ProjectionHead | None = None,
        prediction_head: ProjectionHead | None = None,
        criterion: nn.Module | None = None,
        warmup_epochs: int = 10,
        optimizer: MakeOptimizer | None = None,
        decay_norms_and_biases: bool = False,
        lr_scheduler: MakeScheduler | None = None,
        check_finite: bool = True,
        chunk_size: int | None = None,
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
            check_finite,
            chunk_size,
        )
        self.prediction_head = prediction_head or HSICPredictionHead()
        first, *_, last = (layer for layer in self.prediction_head.layers if isinstance(layer, nn.Linear))
        width = [layer for layer in projection_head.layers if isinstance(layer, nn.Linear)][-1].out_features
        if not width == first.in_features == last.out_features:
            raise ValueError(
                f"prediction_head must map the {width} outputs of projection_head to as many, got a head from "
                f"{first.in_features} to {last.out_features}."
            )
        self.criterion = check_criterion(criterion or HSICLoss(gather_distributed=True))
        self.target_backbone = copy.deepcopy(self.backbone)
        self.target_projection_head = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.target_backbone)
        deactivate_requires_grad(self.target_projection_head)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of all views' predictions and the largest views' target projections, plus the online classifier's."""
        views = batch[0]
        if len(views) < 2:
            raise SettingsError(f"SSLHSIC takes two or more views of each image, got {len(views)}.")

        def predict(view: Tensor) -> tuple[Tensor, Tensor]:
            features = self.features(view)
            return features, self.prediction_head(self.projection_head(features))

        networks = (self.backbone, self.projection_head, self.prediction_head)
        features, predictions = zip(
            *(in_chunks(predict, view, self.chunk_size, networks) for view in views), strict=True
        )
        projections = [self.forward_target(view) for view in largest_views(views)]
        terms = self.criterion.forward_components(*predictions, *projections)
        self.watch(batch[0], terms)
        return self.log_and_total(terms, features[0], batch, batch_idx)

    @torch.no_grad()
    def forward_target(self, x: Tensor) -> Tensor:
        """Target projections ``(N, 256)`` of images."""

        def project(view: Tensor) -> Tensor:
            projections: Tensor = self.target_projection_head(self.target_backbone(view).flatten(start_dim=1))
            return projections

        return in_chunks(project, x, self.chunk_size, (self.target_backbone, self.target_projection_head))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the online network, then the target: once per step, also when gradients are accumulated."""
        step = self.schedule_step()
        super().optimizer_step(*args, **kwargs)
        momentum = cosine_schedule(step, self.training_steps(), start_value=0.99, end_value=1.0)
        update_momentum(self.backbone, self.target_backbone, m=momentum)
        update_momentum(self.projection_head, self.target_projection_head, m=momentum)

    def trained_networks(self) -> list[nn.Module]:
        """The online network."""
        return [*super().trained_networks(), self.prediction_head]


METHODS = {
    "imsvd": {"model": IMSVD, "transform": IMSVDTransform()},
    "ssl_hsic": {"model": SSLHSIC, "transform": HSICTransform()},
}
