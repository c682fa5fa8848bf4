"""Evaluation during pretraining."""

import copy
import time
from collections.abc import Sequence
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from imsvd_plugins.openmmlab.evaluation import bare_model, evaluation_mode, random_state_kept, report
from imsvd_plugins.openmmlab.features import extract_features
from imsvd_plugins.openmmlab.knn import knn_accuracy


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
        for key, config in (("train_dataloader", train_dataloader), ("test_dataloader", test_dataloader)):
            if not isinstance(config, dict):
                raise TypeError(f"{key} of KNNEvalHook must be a data loader's config, got {config!r}.")
        self.k = list(k) if isinstance(k, Sequence) else [k]
        if not self.k:
            raise ValueError("k of KNNEvalHook must be an int >= 1 or several, got none.")
        for key, number in (("interval", interval), *(("k", number) for number in self.k)):
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"{key} of KNNEvalHook must be an int >= 1, got {number!r}.")
        if not temperature > 0:
            raise ValueError(f"temperature of KNNEvalHook must be > 0, got {temperature!r}.")
        self._configs = {"train_dataloader": train_dataloader, "test_dataloader": test_dataloader}
        self.interval = interval
        self.temperature = temperature

    def before_train(self, runner: Runner) -> None:
        """Build the data loaders."""
        with random_state_kept():
            self._train = self._build(runner, "train_dataloader", at_least=max(*self.k, get_world_size()))
            self._test = self._build(runner, "test_dataloader", at_least=get_world_size())

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate, on all ranks together."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        start = time.monotonic()
        model = bare_model(runner)
        with random_state_kept(), evaluation_mode(model):
            bank = extract_features(model, self._train, "train_dataloader of KNNEvalHook")
            queries = extract_features(model, self._test, "test_dataloader of KNNEvalHook")
            shares = knn_accuracy(*bank, *queries, k=self.k, temperature=self.temperature)
        top1 = {"knn_top1" if len(shares) == 1 else f"knn_top1_k{k}": 100 * share for k, share in shares.items()}
        report(runner, "knn", top1, time.monotonic() - start)

    def _build(self, runner: Runner, key: str, at_least: int) -> Any:
        config = copy.deepcopy(self._configs[key])
        # One by one: update() of mmengine's configs would mix the new dicts with the old.
        config["sampler"] = {"type": "DefaultSampler", "shuffle": False, "round_up": False}
        config["drop_last"] = False
        config["collate_fn"] = {"type": "default_collate"}
        dataloader = runner.build_dataloader(config, seed=runner.seed)
        if len(dataloader.dataset) < at_least:
            raise ValueError(
                f"{key} of KNNEvalHook must have at least {at_least} images (k = {max(self.k)}, "
                f"{get_world_size()} processes), got {len(dataloader.dataset)}."
            )
        return dataloader
