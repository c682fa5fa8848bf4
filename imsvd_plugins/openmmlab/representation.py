"""Label-free figures of the representation during pretraining."""

import copy
import time
from typing import Any

import torch
from mmengine.dist import all_gather, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from imsvd_plugins.functional.diagnostics import representation_figures, signs_of_collapse
from imsvd_plugins.losses import IMSVDLoss
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.evaluation import bare_model, evaluation_mode, random_state_kept, report
from imsvd_plugins.openmmlab.features import pooled


class RepresentationHook(Hook):
    """What the representation is like, without labels, for any mmpretrain algorithm of two or more views.

    Every few epochs the same training images are seen in two views by the model in evaluation mode. In the log, in the
    message hub (as ``train/...``) and in every visual backend stand ``rankme`` of the backbone's features,
    ``alignment`` and ``uniformity`` of the projections and, where the loss is IMSVD's, the figures of its variables:
    see :func:`~imsvd_plugins.functional.diagnostics.representation_figures`. A collapse gets a warning that says which
    figure shows it. Training goes on as without the hook.

    Args:
        interval: Number of epochs from one evaluation to the next; the last epoch is always evaluated.
        num_samples: Number of training images over all processes, at least 2; fewer if there are not as many. No rank
            can be found larger than this.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, interval: int = 1, num_samples: int = 2048) -> None:
        for key, number, least in (("interval", interval, 1), ("num_samples", num_samples, 2)):
            if not isinstance(number, int) or number < least:
                raise ConfigValueError(f"{key} of RepresentationHook must be an int >= {least}, got {number!r}.")
        self.interval = interval
        self.num_samples = num_samples

    def before_train(self, runner: Runner) -> None:
        """Build a second loader of the training images, with views of its own."""
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

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate, on all ranks together."""
        if not (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            return
        start = time.monotonic()
        model: Any = bare_model(runner)
        with random_state_kept(), evaluation_mode(model):
            features, z_a, z_b = self._views(model)
        criterion = next((module for module in model.modules() if isinstance(module, IMSVDLoss)), None)
        bins = () if criterion is None else (criterion.num_bins, criterion.temperature)
        figures = representation_figures(features, z_a, z_b, *bins)
        report(runner, "representation", figures, time.monotonic() - start)
        for sign in signs_of_collapse(figures):
            runner.logger.warning("The representation has collapsed: %s.", sign)

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
