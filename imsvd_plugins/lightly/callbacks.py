"""Callbacks that monitor a training without labels, for modules built like Lightly's methods."""

from pathlib import Path
from typing import TYPE_CHECKING

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from imsvd_plugins.checks import check_integer
from imsvd_plugins.functional import soft_discretize
from imsvd_plugins.functional.diagnostics import MEANINGS, collapse_warnings, representation_metrics
from imsvd_plugins.lightly.errors import SettingsError
from imsvd_plugins.lightly.two_views import TwoViewsCallback
from imsvd_plugins.losses import IMSVDLoss

if TYPE_CHECKING:  # of an extra
    from matplotlib.figure import Figure


class RepresentationCallback(TwoViewsCallback):
    """Label-free metrics of the representation: its spread, the alignment of views, the redundancy of variables.

    Every few epochs the model sees the epoch's last training images again, in evaluation mode. The callback logs
    ``train_rankme`` of the backbone's features, and ``train_alignment`` and ``train_uniformity`` of the projections.
    With IMSVD's loss it also logs the metrics of the variables: see
    :func:`~imsvd_plugins.functional.diagnostics.representation_metrics`. The first evaluation prints each metric's
    range and which values are good. If the representation collapses, a warning names the metric that shows it.

    Args:
        interval: Number of epochs from one evaluation to the next; the last epoch is always evaluated.
        num_samples: Number of training images over all devices, at least 2; fewer if an epoch is shorter. It is an
            upper bound of the measured rank.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range.
    """

    def __init__(self, interval: int = 1, num_samples: int = 2048) -> None:
        super().__init__(interval, num_samples)
        self._explained = False

    def evaluate(
        self, trainer: Trainer, pl_module: LightningModule, features: Tensor, z_a: Tensor, z_b: Tensor
    ) -> None:
        """Log the metrics and warn of a collapse."""
        criterion = _imsvd_loss(pl_module)
        bins = () if criterion is None else (criterion.num_bins, criterion.temperature)
        metrics = representation_metrics(features, z_a, z_b, *bins)
        # The samples are gathered, so every rank has the same values, and the mean that Lightning asks for keeps them.
        pl_module.log_dict({f"train_{name}": value for name, value in metrics.items()}, sync_dist=True)
        if not self._explained:
            self._explained = True
            lines = "".join(f"\n  train_{name}: {MEANINGS[name]}" for name in metrics)
            rank_zero_info(f"The metrics of the representation:{lines}")
        for sign in collapse_warnings(metrics):
            rank_zero_warn(f"The representation has collapsed: {sign}.")


class JointDistributionCallback(TwoViewsCallback):
    """Logs figures of IMSVD's variables every few epochs: a few in detail, and an overview of all.

    TensorBoard and loggers with a ``log_image`` method, such as Weights & Biases, receive them as
    ``joint_distribution`` and ``overview``. If no logger takes images, they are written to
    ``joint_distribution/epoch_*.png`` and ``overview/epoch_*.png`` in the run's folder.
    :func:`~imsvd_plugins.explain.draw_joint_distribution` and :func:`~imsvd_plugins.explain.draw_overview` explain what
    they show.

    Args:
        interval: Number of epochs from one figure to the next; the last epoch is always drawn.
        num_samples: Number of training images over all devices, at least 2.
        num_variables: Number of variables to draw in detail, the first ones; fewer if there are fewer.

    Raises:
        ImportError: If a requirement of ``imsvd_plugins.explain`` is not installed.
        TypeError: If a number is not an integer.
        ValueError: If a number is out of range; at the start of the training, if the loss is not IMSVD's.
    """

    def __init__(self, interval: int = 10, num_samples: int = 2048, num_variables: int = 4) -> None:
        super().__init__(interval, num_samples)
        check_integer("num_variables", num_variables, minimum=1)
        from imsvd_plugins import explain  # noqa: F401, PLC0415  (an extra: fail now, not in the last epoch)

        self.num_variables = num_variables

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise if the module has no IMSVD loss."""
        super().on_fit_start(trainer, pl_module)
        if _imsvd_loss(pl_module) is None:
            raise SettingsError(
                "JointDistributionCallback draws the variables of IMSVD: the module must have an IMSVDLoss among its "
                f"submodules, {type(pl_module).__name__} has none."
            )

    def evaluate(
        self, trainer: Trainer, pl_module: LightningModule, features: Tensor, z_a: Tensor, z_b: Tensor
    ) -> None:
        """Draw on the first rank."""
        run_folder = trainer.log_dir or trainer.default_root_dir  # all ranks must ask for it, or they hang
        criterion = _imsvd_loss(pl_module)
        if criterion is None or not trainer.is_global_zero:
            return
        import matplotlib.pyplot as plt  # noqa: PLC0415

        from imsvd_plugins.explain import draw_joint_distribution  # noqa: PLC0415
        from imsvd_plugins.explain.of_views import draw_views  # noqa: PLC0415

        p_a, p_b = (soft_discretize(z, criterion.num_bins, criterion.temperature) for z in (z_a, z_b))
        figure = draw_joint_distribution(p_a, p_b, range(min(self.num_variables, p_a.shape[1])))
        _show(trainer, "joint_distribution", figure, run_folder)
        plt.close(figure)
        title = f"epoch {trainer.current_epoch + 1}, {len(features)} training images"
        _show(trainer, "overview", draw_views(features, z_a, z_b, criterion, title), run_folder)


def _show(trainer: Trainer, name: str, figure: "Figure", run_folder: str) -> None:
    """Send a figure to all loggers that take images; if none does, write it to a folder of its name."""
    shown = False
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(name, figure, trainer.global_step, close=False)
            shown = True
        elif hasattr(logger, "log_image"):
            logger.log_image(name, [figure], step=trainer.global_step)
            shown = True
    if not shown:
        folder = Path(run_folder) / name
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"epoch_{trainer.current_epoch + 1:04d}.png", dpi=120)


def _imsvd_loss(pl_module: LightningModule) -> IMSVDLoss | None:
    return next((module for module in pl_module.modules() if isinstance(module, IMSVDLoss)), None)
