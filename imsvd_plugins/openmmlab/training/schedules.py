"""Learning rates that follow the length of the training."""

from typing import Any

from mmengine.logging import MMLogger
from mmengine.optim import CosineAnnealingLR, LinearLR

INF = int(1e9)  # mmengine's end of a scheduler without a known length


class WarmUpLR(LinearLR):
    """mmengine's LinearLR over the first ``warm_up`` epochs, or fewer in a short training.

    LinearLR has a fixed ``end``, and ``train_cfg.max_epochs`` must be larger. This class adapts to the training: a
    warm-up that would leave nothing of it is shortened to the first half, and the log says so. Put a
    :class:`CosineAfterWarmUpLR` with the same ``warm_up`` next in ``param_scheduler``.

    Args:
        optimizer: The optimizer's wrapper; mmengine passes it.
        warm_up: Length in epochs; in iterations with ``by_epoch=False``.
        begin: When the warm-up starts.
        end: When the training ends; mmengine passes it.
        start_factor: The first learning rate as a share of the optimizer's, in (0, 1].
        **options: As for LinearLR.
    """

    def __init__(
        self, optimizer: Any, warm_up: int, begin: int = 0, end: int = INF, start_factor: float = 1e-4, **options: Any
    ) -> None:
        length = fitting_warm_up(warm_up, end - begin)
        if length != warm_up:
            MMLogger.get_current_instance().warning(
                "A warm-up of %d %s does not fit into a training of %d: it is shortened to %d.",
                warm_up,
                "epochs" if options.get("by_epoch", True) else "iterations",
                end - begin,
                length,
            )
        if length == 0:
            # A scheduler must have a step: this one leaves the rate as it is.
            length, start_factor = 1, 1.0
        super().__init__(optimizer, begin=begin, end=begin + length, start_factor=start_factor, **options)

    @classmethod
    def build_iter_from_epoch(cls, *args: Any, warm_up: int, epoch_length: int | None = None, **options: Any) -> Any:
        """The same by iterations; mmengine calls it if the config sets ``convert_to_iter_based``."""
        length = _iterations(warm_up, epoch_length)
        return super().build_iter_from_epoch(*args, warm_up=length, epoch_length=epoch_length, **options)


class CosineAfterWarmUpLR(CosineAnnealingLR):
    """mmengine's CosineAnnealingLR from the end of a :class:`WarmUpLR` to the end of the training.

    Args:
        optimizer: The optimizer's wrapper; mmengine passes it.
        warm_up: As for the :class:`WarmUpLR`; it is shortened in the same way.
        begin: When the warm-up starts.
        end: When the training ends; mmengine passes it.
        **options: As for CosineAnnealingLR.
    """

    def __init__(self, optimizer: Any, warm_up: int, begin: int = 0, end: int = INF, **options: Any) -> None:
        super().__init__(optimizer, begin=begin + fitting_warm_up(warm_up, end - begin), end=end, **options)

    @classmethod
    def build_iter_from_epoch(cls, *args: Any, warm_up: int, epoch_length: int | None = None, **options: Any) -> Any:
        """The same by iterations; mmengine calls it if the config sets ``convert_to_iter_based``."""
        length = _iterations(warm_up, epoch_length)
        return super().build_iter_from_epoch(*args, warm_up=length, epoch_length=epoch_length, **options)


def fitting_warm_up(warm_up: int, length: int) -> int:
    """Steps of warm-up in a training of ``length`` steps: all, or the first half if nothing would be left."""
    fitting = warm_up if warm_up < length else length // 2
    # LinearLR reaches the full rate with its second step, so a warm-up of one step never does.
    return fitting if fitting > 1 else 0


def _iterations(warm_up: int, epoch_length: int | None) -> int:
    # mmengine's own check, which comes next, refuses None.
    return int(warm_up * (epoch_length or 0))
