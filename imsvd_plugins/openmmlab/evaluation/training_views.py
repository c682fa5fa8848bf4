"""Two views of training images, for evaluations during pretraining."""

import copy
from typing import Any

import torch
from mmengine.dist import all_gather, get_world_size
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from imsvd_plugins.checks import check_integer
from imsvd_plugins.evaluation.mode import evaluation_mode
from imsvd_plugins.openmmlab.errors import ConfigValueError, as_config_errors
from imsvd_plugins.openmmlab.evaluation.features import pooled
from imsvd_plugins.openmmlab.evaluation.mode import bare_model, random_state_kept


class TrainingViews:
    """A second loader of the training images, with views of its own. It does not affect training.

    Args:
        hook: Name of the hook that uses it, for error messages.
        num_samples: Number of training images over all processes, at least 2; fewer if the dataset is smaller.

    Raises:
        ValueError: If the number is out of range.
    """

    def __init__(self, hook: str, num_samples: int) -> None:
        with as_config_errors():
            check_integer(f"num_samples of {hook}", num_samples, minimum=2)
        self._hook = hook
        self._num_samples = num_samples

    def build(self, runner: Runner) -> None:
        """Build the loader.

        Raises:
            ValueError: If the training's pipeline does not give two views.
        """
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
                    f"{self._hook} needs two views of each image, as the MultiView transform gives them; "
                    "train_dataloader.dataset.pipeline gives one."
                )
            self._dataloader: DataLoader[Any] = runner.build_dataloader(config, seed=runner.seed)

    @torch.no_grad()
    def see(self, runner: Runner) -> tuple[Tensor, Tensor, Tensor]:
        """Run the model in evaluation mode on images of all ranks; the result is the same on all ranks.

        Returns:
            Features ``(N, d)`` of one view, and projections ``(N, D)`` of two (features if there is no neck); float32.
        """
        model: Any = bare_model(runner)
        parts, wanted = [], -(-self._num_samples // get_world_size())
        with random_state_kept(), evaluation_mode(model):
            for batch in self._dataloader:
                views = model.data_preprocessor(batch, False)["inputs"]
                parts.append(_of_batch(model, views))
                if sum(len(part[0]) for part in parts) >= wanted:
                    break
            columns = (torch.cat(column)[:wanted] for column in zip(*parts, strict=True))
            # Every rank has the same number, because the sampler pads.
            features, z_a, z_b = (torch.cat(all_gather(column))[: self._num_samples] for column in columns)
        return features, z_a, z_b


def _of_batch(model: Any, views: list[Tensor]) -> tuple[Tensor, ...]:
    features = [model.backbone(view) for view in views[:2]]
    projections = [model.neck(found) for found in features] if model.with_neck else features
    return pooled(features[0]).float(), *(pooled(projection).float() for projection in projections)
