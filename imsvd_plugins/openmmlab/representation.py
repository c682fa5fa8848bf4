"""Label-free metrics of the representation during pretraining."""

import copy
from typing import Any

import torch
from mmengine.dist import all_gather, get_world_size
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from imsvd_plugins.functional.diagnostics import (
    MEANINGS,
    VariableFigures,
    representation_figures,
    signs_of_collapse,
)
from imsvd_plugins.losses import IMSVDLoss
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.evaluation import bare_model, evaluation_mode, random_state_kept
from imsvd_plugins.openmmlab.evaluation_hook import EvaluationHook
from imsvd_plugins.openmmlab.features import pooled


class RepresentationHook(EvaluationHook):
    """What the representation is like, without labels, for any mmpretrain algorithm of two or more views.

    Every few epochs the model in evaluation mode sees the same training images in two views. The metrics are ``rankme``
    of the backbone's features, ``alignment`` and ``uniformity`` of the projections and, where the loss is IMSVD's,
    those of its variables: see :func:`~imsvd_plugins.functional.diagnostics.representation_figures`. They appear in the
    log, which explains them once, in every visual backend and in the message hub as ``metrics/rankme`` and so on, and
    mmengine's ``save_best`` and EarlyStoppingHook can use them. A collapse gets a warning that says which metric shows
    it. Training goes on as without the hook.

    Args:
        interval: Number of epochs from one evaluation to the next; the last epoch is always evaluated.
        num_samples: Number of training images over all processes, at least 2; fewer if there are not as many. No rank
            can be found larger than this.

    Raises:
        ValueError: If a number is out of range.
    """

    label = "representation"

    def __init__(self, interval: int = 1, num_samples: int = 2048) -> None:
        super().__init__(interval)
        if not isinstance(num_samples, int) or num_samples < 2:
            raise ConfigValueError(f"num_samples of RepresentationHook must be an int >= 2, got {num_samples!r}.")
        self.num_samples = num_samples
        self._explained = False

    def before_train(self, runner: Runner) -> None:
        """Build a second loader of the training images, with views of its own."""
        super().before_train(runner)
        dataset = runner.train_loop.dataloader.dataset
        config = copy.deepcopy(runner.cfg.train_dataloader)
        config["dataset"] = dataset
        config["sampler"] = {"type": "DefaultSampler", "shuffle": True}
        config["persistent_workers"] = False
        config["drop_last"] = False
        config.pop("batch_sampler", None)
        with random_state_kept():
            views = dataset[0]["inputs"]
            if not isinstance(views, list) or len(views) < 2:
                raise ConfigValueError(
                    "RepresentationHook needs two views of each image, as the MultiView transform gives them; "
                    "train_dataloader.dataset.pipeline gives one."
                )
            self._dataloader: DataLoader[Any] = runner.build_dataloader(config, seed=runner.seed)

    def metric_names(self, runner: Runner) -> list[str]:
        """Those of the variables with IMSVD's loss only."""
        of_variables = VariableFigures._fields if _imsvd_loss(bare_model(runner)) is not None else ()
        return ["rankme", "alignment", "uniformity", *of_variables]

    def measure(self, runner: Runner) -> dict[str, float]:
        """The metrics; warns of a collapse."""
        model: Any = bare_model(runner)
        with random_state_kept(), evaluation_mode(model):
            features, z_a, z_b = self._views(model)
        criterion = _imsvd_loss(model)
        bins = () if criterion is None else (criterion.num_bins, criterion.temperature)
        metrics = representation_figures(features, z_a, z_b, *bins)
        if not self._explained:
            self._explained = True
            lines = "".join(f"\n  {name}: {MEANINGS[name]}" for name in metrics)
            runner.logger.info("The metrics of the representation:%s", lines)
        for sign in signs_of_collapse(metrics):
            runner.logger.warning("The representation has collapsed: %s.", sign)
        return metrics

    @torch.no_grad()
    def _views(self, model: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Features of one view, and projections of two, of ``num_samples`` images from all ranks."""
        parts, wanted = [], -(-self.num_samples // get_world_size())
        for batch in self._dataloader:
            views = model.data_preprocessor(batch, False)["inputs"]
            parts.append(self._of_batch(model, views))
            if sum(len(part[0]) for part in parts) >= wanted:
                break
        columns = (torch.cat(column)[:wanted] for column in zip(*parts, strict=True))
        # Every rank has as many: the sampler fills up.
        features, z_a, z_b = (torch.cat(all_gather(column))[: self.num_samples] for column in columns)
        return features, z_a, z_b

    @staticmethod
    def _of_batch(model: Any, views: list[Tensor]) -> tuple[Tensor, ...]:
        features = [model.backbone(view) for view in views[:2]]
        projections = [model.neck(found) for found in features] if model.with_neck else features
        return pooled(features[0]).float(), *(pooled(projection).float() for projection in projections)


def _imsvd_loss(model: nn.Module) -> IMSVDLoss | None:
    return next((module for module in model.modules() if isinstance(module, IMSVDLoss)), None)
