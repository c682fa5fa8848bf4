"""Evaluation during pretraining."""

import time
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.evaluation import bare_model, evaluation_mode, random_state_kept, report
from imsvd_plugins.openmmlab.knn_evaluation import KNNEvaluation


class KNNEvalHook(Hook):
    """Top-1 accuracy of a weighted kNN vote on frozen features, during the pretraining of any mmpretrain algorithm.

    A hook, because mmengine's validation loop needs a "predict" mode that self-supervised models lack. The result, in
    per cent as mmpretrain's own accuracies, is ``knn_top1`` in the log and in TensorBoard and ``train/knn_top1`` in the
    message hub; with several ``k`` there is a ``knn_top1_k20`` for each. Training goes on as without the hook: weights,
    statistics, modes and random states are left alone.

    Args:
        train_dataloader: Config of the data loader for the labelled images that vote, as for a classifier: one view an
            image, with ``gt_label``. Its ``sampler``, ``drop_last`` and ``collate_fn`` are replaced, so that over all
            ranks each image comes exactly once.
        test_dataloader: The same for the images to classify.
        interval: Number of epochs from one evaluation to the next; the last epoch is always evaluated.
        k: Number of neighbours, or several.
        temperature: Temperature ``T`` of the votes ``exp(cosine / T)``.

    Raises:
        TypeError: If a data loader is no config.
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        train_dataloader: dict[str, Any],
        test_dataloader: dict[str, Any],
        interval: int = 1,
        k: int | Sequence[int] = 20,
        temperature: float = 0.07,
    ) -> None:
        self._evaluation = KNNEvaluation("KNNEvalHook", train_dataloader, test_dataloader, k, temperature)
        if not isinstance(interval, int) or interval < 1:
            raise ConfigValueError(f"interval of KNNEvalHook must be an int >= 1, got {interval!r}.")
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Build the data loaders."""
        with random_state_kept():
            self._evaluation.build(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate, on all ranks together."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        start = time.monotonic()
        model = bare_model(runner)
        with random_state_kept(), evaluation_mode(model):
            top1 = self._evaluation.accuracies(model)
        report(runner, "knn", top1, time.monotonic() - start)
