"""What the hooks that measure during pretraining share: when they measure, and where the metrics go."""

import time
from collections.abc import Iterable
from typing import Any, ClassVar

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import Runner

from imsvd_plugins.checks import check_integer
from imsvd_plugins.openmmlab.errors import ConfigValueError, as_config_errors

_KEY = "evaluated"


class EvaluationHook(Hook):
    """Measures at the end of every few epochs.

    Each metric appears once, when it is measured: in a line of the text log, in every visual backend and, as
    ``metrics/NAME``, in the message hub. mmengine's CheckpointHook (``save_best=NAME``) and EarlyStoppingHook
    (``monitor=NAME``) can use it like a validation metric.

    Args:
        interval: Number of epochs from one evaluation to the next; the last epoch is always evaluated.

    Raises:
        TypeError: If ``interval`` is not an integer.
        ValueError: If it is out of range.
    """

    label: ClassVar[str]

    def __init__(self, interval: int) -> None:
        with as_config_errors():
            check_integer(f"interval of {type(self).__name__}", interval, minimum=1)
        self.interval = interval
        self._metrics: dict[str, float] = {}

    def metric_names(self, runner: Runner) -> Iterable[str]:
        """Names of the metrics that :meth:`measure` returns."""
        raise NotImplementedError

    def measure(self, runner: Runner) -> dict[str, float]:
        """Metrics by name, the same on all ranks."""
        raise NotImplementedError

    def before_train(self, runner: Runner) -> None:
        """Refuse a ``save_best`` or ``monitor`` that nothing measures: mmengine would silently ignore it."""
        if runner.val_loop is not None:
            return
        known = [name for hook in _evaluation_hooks(runner) for name in hook.metric_names(runner)]
        for hook in runner.hooks:
            for name in _names_wanted_by(hook):
                if name not in known:
                    key = "save_best" if isinstance(hook, CheckpointHook) else "monitor"
                    raise ConfigValueError(
                        f"{key} of {type(hook).__name__} must be a metric that custom_hooks measure "
                        f"({', '.join(known)}), got {name!r}."
                    )

    def after_train_epoch(self, runner: Runner) -> None:
        """Measure, on all ranks together."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        start = time.monotonic()
        self._metrics = self.measure(runner)
        shown = "  ".join(f"{name}: {value:.4f}" for name, value in self._metrics.items())
        seconds = time.monotonic() - start
        runner.logger.info("Epoch(%s) [%d]  %s  time: %.1f", self.label, runner.epoch + 1, shown, seconds)
        runner.visualizer.add_scalars(self._metrics, step=runner.iter)
        for name, value in self._metrics.items():
            # Not under "train/": mmengine would repeat it in each line of the training log until the next evaluation.
            runner.message_hub.update_scalar(f"metrics/{name}", value)
        for hook in runner.hooks:
            if isinstance(hook, EarlyStoppingHook) and hook.monitor in self._metrics:
                hook.after_val_epoch(runner, self._metrics)

    def before_train_epoch(self, runner: Runner) -> None:
        """Save the best checkpoint, now that the runner counts the epoch as done."""
        _save_best(runner)

    def after_train(self, runner: Runner) -> None:
        """The same after the last epoch."""
        _save_best(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store the metrics that are still to be compared with the best."""
        if self._metrics:
            checkpoint.setdefault(_KEY, {})[self.label] = self._metrics

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Restore them when a run resumes."""
        if runner._resume:
            self._metrics = checkpoint.get(_KEY, {}).get(self.label, {})


def _save_best(runner: Runner) -> None:
    """Pass all metrics measured since the last call to the CheckpointHook, as a validation loop does."""
    metrics: dict[str, float] = {}
    for evaluation in _evaluation_hooks(runner):
        metrics |= evaluation._metrics
        evaluation._metrics = {}
    for hook in runner.hooks:
        # It fails if a metric is missing, and hooks of different intervals may measure at different times.
        if isinstance(hook, CheckpointHook) and hook.save_best and metrics and metrics.keys() >= _names_wanted_by(hook):
            hook.after_val_epoch(runner, metrics)


def _names_wanted_by(hook: Hook) -> set[str]:
    if isinstance(hook, CheckpointHook) and hook.save_best:
        return set(hook.key_indicators) - {"auto"}
    return {hook.monitor} if isinstance(hook, EarlyStoppingHook) else set()


def _evaluation_hooks(runner: Runner) -> list[EvaluationHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EvaluationHook)]
