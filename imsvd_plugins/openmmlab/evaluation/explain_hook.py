"""A hook that draws what the model has learned, during pretraining."""

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from imsvd_plugins.checks import check_integer
from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.openmmlab.errors import as_config_errors
from imsvd_plugins.openmmlab.evaluation.mode import bare_model
from imsvd_plugins.openmmlab.evaluation.training_views import TrainingViews


class ExplainHook(Hook):
    """Draws what the model has learned every few epochs, for every visualization backend, such as TensorBoard's.

    The model in evaluation mode sees the same training images in two views. With IMSVD's loss the figure,
    ``overview``, shows all latent variables: their joint distribution, entropies, agreement and redundancy (see
    :func:`~imsvd_plugins.explain.draw_overview`). For other mmpretrain algorithms of two or more views it shows the
    features (:func:`~imsvd_plugins.explain.draw_representation`). The hook does not change the training.

    Args:
        interval: Number of epochs from one figure to the next; the last epoch is always drawn.
        num_samples: Number of training images over all processes, at least 2; fewer if there are fewer.

    Raises:
        ImportError: If a requirement of ``imsvd_plugins.explain`` is not installed.
        ValueError: If a number is out of range.
    """

    def __init__(self, interval: int = 10, num_samples: int = 2048) -> None:
        from imsvd_plugins import explain  # noqa: F401, PLC0415  (an extra: fail now, not in the last epoch)

        with as_config_errors():
            check_integer("interval of ExplainHook", interval, minimum=1)
        self.interval = interval
        self._views = TrainingViews("ExplainHook", num_samples)

    def before_train(self, runner: Runner) -> None:
        """Build a second loader of the training images."""
        self._views.build(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw the samples of all ranks on the first rank."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        features, z_a, z_b = self._views.see(runner)
        if not is_main_process():
            return
        from imsvd_plugins.explain.figures import pixels  # noqa: PLC0415
        from imsvd_plugins.explain.of_views import draw_views  # noqa: PLC0415

        modules = bare_model(runner).modules()
        criterion = next((module for module in modules if isinstance(module, (IMSVDLoss, HSICLoss))), None)
        figure = draw_views(features, z_a, z_b, criterion, f"epoch {runner.epoch + 1}, {len(features)} training images")
        runner.visualizer.add_image("overview", pixels(figure), step=runner.iter)
