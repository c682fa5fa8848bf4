"""A linear probe that is trained during pretraining."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.evaluation.evaluation_hook import EvaluationHook
from imsvd_plugins.openmmlab.evaluation.features import pooled
from imsvd_plugins.openmmlab.evaluation.mode import bare_model

_STATE = "online_probe"


class OnlineProbeHook(EvaluationHook):
    """Top-1 accuracy of a linear probe that learns on the features of each training step, for any mmpretrain algorithm.

    The probe is not part of the model, and no gradient flows back into the backbone. The probe takes one step with each
    training batch and is stored in the checkpoints. ``probe_top1``, in per cent, is its accuracy on the views of a
    batch before it learns from them, averaged over an epoch. It appears in the log, in every visual backend and in the
    message hub as ``metrics/probe_top1``, and mmengine's ``save_best`` and EarlyStoppingHook can use it. A step of the
    probe costs a matrix product of features and classes.

    The training images must have labels, which the pretraining itself does not see.

    Args:
        lr: Learning rate of the probe's Adam.

    Raises:
        ValueError: If ``lr`` is out of range.
    """

    label = "probe"

    def __init__(self, lr: float = 1e-3) -> None:
        super().__init__(interval=1)
        if not lr > 0:
            raise ConfigValueError(f"lr of OnlineProbeHook must be > 0, got {lr!r}.")
        self.lr = lr
        self._features: list[Tensor] = []
        self._probe: nn.Linear | None = None
        self._state: dict[str, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        """Register a forward hook on the backbone."""
        super().before_train(runner)
        self._num_classes = _count_classes(runner)
        backbone = bare_model(runner).backbone
        self._listener = backbone.register_forward_hook(self._listen)

    def after_train(self, runner: Runner) -> None:
        """Remove the forward hook."""
        super().after_train(runner)
        self._listener.remove()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Measure the probe on the step's features, then let it learn from them."""
        views, self._features = self._features, []
        features = torch.cat(views)
        labels = _labels(data_batch).to(features.device).repeat(len(views))
        if len(labels) != len(features):
            raise ConfigValueError(
                f"OnlineProbeHook needs the backbone to see each image as often as the others; it saw {len(features)} "
                f"images of {len(labels) // len(views)} labels in {len(views)} calls."
            )
        if self._probe is None:
            # A loop by iterations resumes within its one epoch; any other starts the epoch again.
            self._build(features, within_epoch=isinstance(runner.train_loop, IterBasedTrainLoop))
        assert self._probe is not None
        # The hook may be called inside contexts that the host puts around a step.
        with torch.enable_grad(), torch.autocast(features.device.type, enabled=False):
            logits = self._probe(features)
            self._optimizer.zero_grad()
            cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        for parameter in self._probe.parameters():
            all_reduce(parameter.grad, op="mean")
        self._optimizer.step()
        # A tensor, because a number would make the step wait for the device.
        right = (logits.argmax(dim=1) == labels).sum()
        self._scores += torch.stack([right, torch.full_like(right, len(labels))])

    def metric_names(self, runner: Runner) -> list[str]:
        """The accuracy."""
        return ["probe_top1"]

    def measure(self, runner: Runner) -> dict[str, float]:
        """The accuracy over the epoch's batches."""
        all_reduce(self._scores, op="sum")
        right, seen = self._scores.tolist()
        self._scores.zero_()
        return {"probe_top1": 100 * right / seen}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Store the probe and its optimizer too."""
        super().before_save_checkpoint(runner, checkpoint)
        if self._probe is not None:
            checkpoint[_STATE] = {
                "probe": self._probe.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "scores": self._scores.clone(),
            }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Restore them when a run resumes."""
        super().after_load_checkpoint(runner, checkpoint)
        if runner._resume:
            self._state = checkpoint.get(_STATE)

    def _listen(self, module: nn.Module, args: Any, output: Any) -> None:
        # Evaluations between the steps call this too.
        if module.training and torch.is_grad_enabled():
            self._features.append(pooled(output).detach().float())

    def _build(self, features: Tensor, *, within_epoch: bool) -> None:
        # Zeros, because drawing random weights would change the training's random numbers.
        self._probe = nn.Linear(features.shape[1], self._num_classes, device="meta").to_empty(device=features.device)
        for parameter in self._probe.parameters():
            nn.init.zeros_(parameter)
        self._optimizer = torch.optim.Adam(self._probe.parameters(), lr=self.lr)
        self._scores = torch.zeros(2, dtype=torch.long, device=features.device)  # images classified correctly, and seen
        if self._state is not None:
            self._probe.load_state_dict(self._state["probe"])
            self._optimizer.load_state_dict(self._state["optimizer"])
            if within_epoch:
                self._scores += self._state["scores"].to(features.device)


def _count_classes(runner: Runner) -> int:
    classes = runner.train_loop.dataloader.dataset.metainfo.get("classes")
    if not classes:
        raise ConfigValueError(
            "OnlineProbeHook needs labelled images: train_dataloader.dataset has no classes in its metainfo."
        )
    return len(classes)


def _labels(data_batch: dict[str, Any]) -> Tensor:
    samples = data_batch["data_samples"]
    if not samples or "gt_label" not in samples[0]:
        raise ConfigValueError(
            "OnlineProbeHook needs a gt_label for each image: see the annotations of train_dataloader.dataset and "
            "PackInputs in its pipeline."
        )
    return torch.cat([sample.gt_label for sample in samples])
