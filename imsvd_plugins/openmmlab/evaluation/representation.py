"""Label-free metrics of the representation during pretraining."""

from mmengine.runner import Runner
from torch import nn

from imsvd_plugins.functional.diagnostics import (
    MEANINGS,
    VariableMetrics,
    collapse_warnings,
    representation_metrics,
)
from imsvd_plugins.losses import IMSVDLoss
from imsvd_plugins.openmmlab.evaluation.evaluation_hook import EvaluationHook
from imsvd_plugins.openmmlab.evaluation.mode import bare_model
from imsvd_plugins.openmmlab.evaluation.training_views import TrainingViews


class RepresentationHook(EvaluationHook):
    """Label-free metrics of the representation, for any mmpretrain algorithm of two or more views.

    Every few epochs the model sees the same training images in two views, in evaluation mode. The metrics are
    ``rankme`` of the backbone's features, ``alignment`` and ``uniformity`` of the projections and, with IMSVD's loss,
    those of its variables: see :func:`~imsvd_plugins.functional.diagnostics.representation_metrics`. They appear in the
    log, which explains them once, in every visual backend and in the message hub as ``metrics/rankme`` and so on, and
    mmengine's ``save_best`` and EarlyStoppingHook can use them. The hook warns of a collapse and says which metric
    shows it. It does not affect training.

    Args:
        interval: Number of epochs from one evaluation to the next; the last epoch is always evaluated.
        num_samples: Number of training images over all processes, at least 2; fewer if the dataset is smaller.
            ``rankme`` cannot exceed it.

    Raises:
        ValueError: If a number is out of range.
    """

    label = "representation"

    def __init__(self, interval: int = 1, num_samples: int = 2048) -> None:
        super().__init__(interval)
        self._views = TrainingViews("RepresentationHook", num_samples)
        self._explained = False

    def before_train(self, runner: Runner) -> None:
        """Build a second loader of the training images, with views of its own."""
        super().before_train(runner)
        self._views.build(runner)

    def metric_names(self, runner: Runner) -> list[str]:
        """Names of the metrics; those of the variables only with IMSVD's loss."""
        of_variables = VariableMetrics._fields if _imsvd_loss(bare_model(runner)) is not None else ()
        return ["rankme", "alignment", "uniformity", *of_variables]

    def measure(self, runner: Runner) -> dict[str, float]:
        """Compute the metrics, and warn of a collapse."""
        features, z_a, z_b = self._views.see(runner)
        criterion = _imsvd_loss(bare_model(runner))
        bins = () if criterion is None else (criterion.num_bins, criterion.temperature)
        metrics = representation_metrics(features, z_a, z_b, *bins)
        if not self._explained:
            self._explained = True
            lines = "".join(f"\n  {name}: {MEANINGS[name]}" for name in metrics)
            runner.logger.info("The metrics of the representation:%s", lines)
        for sign in collapse_warnings(metrics):
            runner.logger.warning("The representation has collapsed: %s.", sign)
        return metrics


def _imsvd_loss(model: nn.Module) -> IMSVDLoss | None:
    return next((module for module in model.modules() if isinstance(module, IMSVDLoss)), None)
