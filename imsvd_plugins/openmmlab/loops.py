"""Evaluation of a finished checkpoint."""

from collections.abc import Sequence
from typing import Any

from mmengine.runner import BaseLoop, Runner, autocast

from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.evaluation import bare_model
from imsvd_plugins.openmmlab.knn_evaluation import KNNEvaluation


class KNNLoop(BaseLoop):
    """Test loop: top-1 accuracy of a weighted kNN vote on a checkpoint's features.

    It measures what :class:`~imsvd_plugins.openmmlab.KNNEvalHook` measures during a training.

    For any model with mmpretrain's ``extract_feat``, be it a pretraining algorithm or a classifier, with a head or
    without. The config's ``test_dataloader`` gives the images to classify. There is nothing for metrics to do, but
    mmengine wants the key: ``test_evaluator=[]``. The result is what other test loops' metrics are: ``test/knn_top1``
    in the message hub, and ``knn_top1`` in the log and in what ``--out FILE --out-item metrics`` writes.

    Args:
        runner: The runner; mmengine passes it, and the next two.
        dataloader: The config's ``test_dataloader``, one view an image, with ``gt_label``. Its ``sampler``,
            ``batch_sampler``, ``drop_last`` and ``collate_fn`` are replaced, so that over all ranks each image comes
            exactly once.
        evaluator: The config's ``test_evaluator``, which must be empty.
        train_dataloader: Config of the data loader for the labelled images that vote, as ``test_dataloader``.
        k: Number of neighbours, or several.
        temperature: Temperature ``T`` of the votes ``exp(cosine / T)``.
        fp16: Whether features are computed in mixed precision, which ``--amp`` sets.

    Raises:
        TypeError: If a data loader is no config.
        ValueError: If a number is out of range, there are fewer images than neighbours, or ``test_evaluator`` is not
            empty.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict[str, Any],
        evaluator: Sequence[Any] | dict[str, Any],
        train_dataloader: dict[str, Any] | None = None,
        k: int | Sequence[int] = 20,
        temperature: float = 0.07,
        fp16: bool = False,
    ) -> None:
        _check_empty(evaluator)
        self._evaluation = KNNEvaluation("KNNLoop", train_dataloader, dataloader, k, temperature)
        super().__init__(runner, self._evaluation.build(runner))
        # The test tool adds a metric here for `--out`.
        self.evaluator = runner.build_evaluator([])
        self._fp16 = fp16

    def run(self) -> dict[str, float]:
        """Evaluate, on all ranks together; returns the accuracies in per cent."""
        _check_empty(self.evaluator.metrics)
        self.runner.call_hook("before_test")
        self.runner.call_hook("before_test_epoch")
        self.runner.model.eval()
        with autocast(enabled=self._fp16):
            metrics = self._evaluation.accuracies(bare_model(self.runner))
        self.runner.call_hook("after_test_epoch", metrics=metrics)
        self.runner.call_hook("after_test")
        return metrics


def _check_empty(evaluator: Any) -> None:
    if len(evaluator):
        raise ConfigValueError(
            f"KNNLoop feeds no metrics: test_evaluator must be [], got {evaluator!r}; `--out` needs "
            "`--out-item metrics`."
        )
