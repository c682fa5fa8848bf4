"""kNN evaluation during pretraining."""

from collections.abc import Sequence
from typing import Any

from mmengine.runner import Runner

from imsvd_plugins.evaluation.mode import evaluation_mode
from imsvd_plugins.openmmlab.evaluation.evaluation_hook import EvaluationHook
from imsvd_plugins.openmmlab.evaluation.knn_evaluation import KNNEvaluation
from imsvd_plugins.openmmlab.evaluation.mode import bare_model, random_state_kept


class KNNEvalHook(EvaluationHook):
    """Top-1 accuracy of a weighted kNN vote on frozen features, during the pretraining of any mmpretrain algorithm.

    A hook, because mmengine's validation loop needs a "predict" mode that self-supervised models lack. The result, in
    per cent as mmpretrain's own accuracies, is ``knn_top1``; with several ``k`` there is a ``knn_top1_k20`` for each.
    It appears in the log, in every visual backend and in the message hub as ``metrics/knn_top1``, and mmengine's
    ``save_best`` and EarlyStoppingHook can use it. Training goes on as without the hook: weights, statistics, modes and
    random states are left alone.

    Args:
        train_dataloader: Config of the data loader for the labelled images that vote, as for a classifier: one view an
            image, with ``gt_label``. Its ``sampler``, ``batch_sampler``, ``drop_last`` and ``collate_fn`` are
            replaced, so that over all
            ranks each image comes exactly once.
        test_dataloader: The same for the images to classify.
        interval: Number of epochs from one evaluation to the next; the last epoch is always evaluated.
        k: Number of neighbours, or several.
        temperature: Temperature ``T`` of the votes ``exp(cosine / T)``.

    Raises:
        TypeError: If a data loader is no config.
        ValueError: If a number is out of range.
    """

    label = "knn"

    def __init__(
        self,
        train_dataloader: dict[str, Any],
        test_dataloader: dict[str, Any],
        interval: int = 1,
        k: int | Sequence[int] = 20,
        temperature: float = 0.07,
    ) -> None:
        super().__init__(interval)
        self._evaluation = KNNEvaluation("KNNEvalHook", train_dataloader, test_dataloader, k, temperature)

    def before_train(self, runner: Runner) -> None:
        """Build the data loaders."""
        super().before_train(runner)
        with random_state_kept():
            self._evaluation.build(runner)

    def metric_names(self, runner: Runner) -> list[str]:
        """The accuracies."""
        return self._evaluation.names

    def measure(self, runner: Runner) -> dict[str, float]:
        """The accuracies, in per cent."""
        model = bare_model(runner)
        with random_state_kept(), evaluation_mode(model):
            return self._evaluation.accuracies(model)
