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

    It is a hook because mmengine's validation loop needs a "predict" mode, which self-supervised models lack. The
    result is ``knn_top1``, in per cent like mmpretrain's own accuracies; several ``k`` give ``knn_top1_k20`` and so on.
    It appears in the log, in every visual backend and in the message hub as ``metrics/knn_top1``, and mmengine's
    ``save_best`` and EarlyStoppingHook can use it. The hook does not affect training: it leaves weights, statistics,
    modes and random states unchanged.

    Args:
        train_dataloader: Config of the data loader for the labelled images that vote, as for a classifier: one view per
            image, with ``gt_label``. Its ``sampler``, ``batch_sampler``, ``drop_last`` and ``collate_fn`` are
            replaced, so that each image counts exactly once over all ranks.
        test_dataloader: The same for the images to classify.
        interval: Number of epochs from one evaluation to the next; the last epoch is always evaluated.
        k: Number of neighbours, or several.
        temperature: Temperature ``T`` of the votes ``exp(cosine / T)``.

    Raises:
        TypeError: If a data loader is not a config.
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
