"""The base of both methods' LightningModules: backbone, online linear classifier, optimizer and its schedule."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from lightly.models.modules.heads import ProjectionHead
from lightly.models.utils import get_weight_decay_parameters
from lightly.utils.benchmarking import OnlineLinearClassifier
from lightly.utils.lars import LARS
from lightly.utils.scheduler import CosineWarmupScheduler
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from imsvd_plugins.checks import check_integer
from imsvd_plugins.functional import HSICTerms, IMSVDTerms
from imsvd_plugins.lightly import preflight
from imsvd_plugins.lightly.backbones import ResNet
from imsvd_plugins.lightly.errors import SettingsError
from imsvd_plugins.lightly.finite import WatchedModule
from imsvd_plugins.lightly.resume import resumed_settings

Batch = Sequence[Any]  # views, labels and, from a LightlyDataset, file names
MakeOptimizer = Callable[[Any], Optimizer]  # from parameter groups
MakeScheduler = Callable[[Optimizer], LRScheduler]

# Arguments that are not plain data if the module is made in Python.
_OBJECTS = ["backbone", "projection_head", "prediction_head", "criterion", "optimizer", "lr_scheduler"]


class SelfSupervisedModule(WatchedModule):
    """A method in the form of Lightly's ImageNet benchmark. The two methods document the arguments."""

    method: ClassVar[str]
    learning_rate: ClassVar[float]  # peak, at a global batch of 256
    criterion: Any  # of this package or another's: see check_criterion

    def __init__(
        self,
        batch_size_per_device: int | None,
        num_classes: int | None,
        backbone: nn.Module | None,
        projection_head: ProjectionHead,
        warmup_epochs: int,
        optimizer: MakeOptimizer | None,
        decay_norms_and_biases: bool,
        lr_scheduler: MakeScheduler | None,
        check_finite: bool,
        chunk_size: int | None,
    ) -> None:
        super().__init__(check_finite)
        if chunk_size is not None:
            check_integer("chunk_size", chunk_size, minimum=1)
        if batch_size_per_device is not None:
            check_integer("batch_size_per_device", batch_size_per_device, minimum=1)
        elif optimizer is None:
            raise ValueError(
                "batch_size_per_device is missing, and the paper's learning rate goes by it: give the data "
                "module of a config an argument batch_size_per_device, or the model an optimizer."
            )
        check_integer("warmup_epochs", warmup_epochs, minimum=0)
        self.save_hyperparameters(ignore=_OBJECTS)
        if "_instantiator" in self.hparams:
            # LightningCLI has their config: plain data from which load_from_checkpoint rebuilds them.
            self.save_hyperparameters()
        self.batch_size_per_device = batch_size_per_device
        self.warmup_epochs = warmup_epochs
        self.chunk_size = chunk_size
        self.make_optimizer = optimizer
        self.decay_norms_and_biases = decay_norms_and_biases
        self.make_scheduler = lr_scheduler
        self.backbone = ResNet(50) if backbone is None else backbone
        self.projection_head = projection_head
        self.online_classifier: OnlineLinearClassifier | None = None
        if num_classes is not None:
            check_integer("num_classes", num_classes, minimum=1)
            self.online_classifier = OnlineLinearClassifier(
                feature_dim=projection_head.layers[0].in_features,
                num_classes=num_classes,
                topk=(1, min(5, num_classes)),
            )
        self._settings_before: dict[str, Any] = {}  # of the checkpoint that the training resumes from
        self.planned: resumed_settings.Plan | None = None  # None if a subclass overrides configure_optimizers
        self.steps_ahead = 0  # how far the schedule is ahead of the trainer's count of steps

    def forward(self, x: Tensor) -> Tensor:
        """Features of images."""
        features: Tensor = self.backbone(x)
        return features

    def features(self, x: Tensor) -> Tensor:
        """Features of images, ``(N, d)``."""
        features: Tensor = self(x).flatten(start_dim=1)
        self._check_width(features.shape[1])
        return features

    def _check_width(self, width: int) -> None:
        expected = self.projection_head.layers[0].in_features
        if width != expected:
            raise SettingsError(f"projection_head's input_dim must be the backbone's {width} features, got {expected}.")

    def on_fit_start(self) -> None:
        """Raise early the errors that the first steps would raise."""
        if not self.trainer.ckpt_path:  # When resuming, Lightning has not restored the loaders' states yet.
            self.trainer.fit_loop.setup_data()
        preflight.check_batches(self.trainer)
        preflight.warn_of_too_many_bins(self.trainer, self.criterion)
        is_own = type(self).forward is not SelfSupervisedModule.forward  # it may pool the backbone's features
        if not is_own and (width := preflight.num_features(self.trainer, self.backbone)) is not None:
            self._check_width(width)
        if self.online_classifier is None:
            rank_zero_info("There is no online classifier, because num_classes is None: labels are not looked at.")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stop before broken weights are saved; keep the settings that no state holds."""
        super().on_save_checkpoint(checkpoint)
        if self._trainer is not None and self._trainer.optimizers:
            checkpoint[resumed_settings.KEY] = resumed_settings.settings(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise if the checkpoint is of another model or optimizer."""
        if self._trainer is None:  # load_from_checkpoint has its own checks
            return
        resumed_settings.check_fits(self, checkpoint)
        if self.trainer.state.fn == TrainerFn.FITTING:
            self._settings_before = checkpoint.get(resumed_settings.KEY, {})
            resumed_settings.check_groups(self, self._settings_before)

    def on_train_start(self) -> None:
        """Give the restored optimizer and schedule this training's settings in place of the checkpoint's."""
        self.steps_ahead = 0
        if self.trainer.ckpt_path and self.planned is not None:
            optimizer, scheduler = self.trainer.optimizers[0], self.trainer.lr_scheduler_configs[0].scheduler
            self.steps_ahead = resumed_settings.take(self, optimizer, scheduler, self._settings_before)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Score the online classifier, if there is one, on labelled images."""
        if self.online_classifier is None:
            return None
        images, targets = batch[0], batch[1]
        features = self.features(images)
        loss, log = self.online_classifier.validation_step((features, targets), batch_idx)
        self.log_dict(log, prog_bar=True, sync_dist=True, batch_size=len(targets))
        return loss  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule; the online classifier has no weight decay."""
        params, params_no_weight_decay = get_weight_decay_parameters(
            self.trained_networks(),
            decay_norm=self.decay_norms_and_biases,
            decay_bias=self.decay_norms_and_biases,
        )
        groups = [
            {"name": self.method, "params": params},
            # Lightly's LARS does not adapt parameters without weight decay.
            {"name": f"{self.method}_no_weight_decay", "params": params_no_weight_decay, "weight_decay": 0.0},
        ]
        if self.online_classifier is not None:
            classifier = self.online_classifier.parameters()
            groups.append({"name": "online_classifier", "params": classifier, "weight_decay": 0.0})
        if self.make_optimizer is not None:
            try:
                optimizer = self.make_optimizer(groups)
            except ValueError as error:  # such as a negative learning rate
                raise SettingsError(f"optimizer: {error}") from error
        else:
            batch_size: Any = self.batch_size_per_device  # None only with an optimizer
            learning_rate = self.learning_rate * batch_size * self.trainer.world_size / 256
            optimizer = LARS(groups, lr=learning_rate, momentum=0.9, weight_decay=1e-6)
        if self.make_scheduler is not None:
            scheduler = self.make_scheduler(optimizer)
            self.planned = resumed_settings.planned(optimizer, scheduler)
            return [optimizer], [scheduler]
        scheduler = self._warmup_and_cosine(optimizer)
        self.planned = resumed_settings.planned(optimizer, scheduler)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def _warmup_and_cosine(self, optimizer: Optimizer) -> LRScheduler:
        """Linear warm-up, and cosine to 0.001 of the peak at the last step."""
        self.trainer.fit_loop.setup_data()  # a trainer with max_steps may not have done so yet
        steps = self.training_steps()
        steps_per_epoch = self.steps_per_epoch()
        if steps_per_epoch is None:
            raise SettingsError(
                f"warmup_epochs = {self.warmup_epochs} needs epochs of a known length: give the training data loader a "
                "length, the trainer a limit_train_batches, or the model an lr_scheduler."
            )
        warmup = self.warmup_epochs * steps_per_epoch
        if warmup > steps:
            rank_zero_warn(
                f"warmup_epochs = {self.warmup_epochs} is longer than the training, {steps / steps_per_epoch:g} "
                "epochs: the learning rate rises through all of it."
            )
        scheduler: LRScheduler = CosineWarmupScheduler(optimizer, warmup_epochs=min(warmup, steps), max_epochs=steps)
        return scheduler

    def training_steps(self) -> int:
        """Number of steps of the whole training."""
        steps = self.trainer.estimated_stepping_batches
        if not 0 <= steps < math.inf:
            raise SettingsError(
                f"{type(self).__name__} has a schedule that goes to the last step: give the trainer max_epochs, "
                f"max_steps or limit_train_batches, got max_epochs = {self.trainer.max_epochs} and max_steps = "
                f"{self.trainer.max_steps} with {self.trainer.num_training_batches} batches an epoch."
            )
        return int(steps)

    def steps_per_epoch(self) -> int | None:
        """Number of steps in an epoch; None for data without a length."""
        batches = self.trainer.num_training_batches
        return None if math.isinf(batches) else math.ceil(batches / self.trainer.accumulate_grad_batches)

    def schedule_step(self) -> int:
        """The position in the schedule, out of :meth:`training_steps`."""
        return self.trainer.global_step + self.steps_ahead

    def trained_networks(self) -> list[nn.Module]:
        """The networks that the optimizer trains, apart from the online classifier."""
        return [self.backbone, self.projection_head]

    def log_and_total(self, terms: IMSVDTerms | HSICTerms, features: Tensor, batch: Batch, batch_idx: int) -> Tensor:
        """Log the terms and add the online classifier's loss, which sends no gradient to the backbone."""
        settings: dict[str, Any] = {"sync_dist": True, "batch_size": len(features)}
        log = {f"train_{name}": value for name, value in terms._asdict().items()}
        self.log("train_loss", log.pop("train_loss"), prog_bar=True, **settings)
        self.log_dict(log, **settings)
        if self.online_classifier is None:
            return terms.loss
        classifier_loss, classifier_log = self.online_classifier.training_step((features.detach(), batch[1]), batch_idx)
        self.log_dict(classifier_log, **settings)
        total: Tensor = terms.loss + classifier_loss
        return total


def check_criterion(criterion: nn.Module) -> nn.Module:
    """Refuse a loss without the method that the modules call.

    Raises:
        ValueError: If it has no ``forward_components``.
    """
    if not callable(getattr(criterion, "forward_components", None)):
        raise ValueError(
            "criterion must have a method forward_components(*z_views) that returns a named tuple with the loss, as "
            f"IMSVDLoss and HSICLoss have, got {type(criterion).__name__}."
        )
    return criterion
