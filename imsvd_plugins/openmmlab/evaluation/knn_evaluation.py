"""kNN evaluation of a model by two data loader configs, which the hook and the test loop share."""

import copy
from collections.abc import Sequence
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from imsvd_plugins.checks import check_integer, check_positive
from imsvd_plugins.evaluation.knn import knn_accuracy
from imsvd_plugins.openmmlab.errors import ConfigTypeError, ConfigValueError, as_config_errors
from imsvd_plugins.openmmlab.evaluation.features import extract_features


class KNNEvaluation:
    """Top-1 accuracy of a weighted kNN vote on a model's features, over all ranks together.

    Args:
        owner: Name of the class with these settings, for messages.
        train_dataloader: Config of the data loader for the images that vote.
        test_dataloader: The same for the images to classify.
        k: Number of neighbours, or several.
        temperature: Temperature ``T`` of the votes ``exp(cosine / T)``.

    Raises:
        TypeError: If a data loader is not a config, or a number has the wrong type.
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        owner: str,
        train_dataloader: dict[str, Any] | None,
        test_dataloader: dict[str, Any] | None,
        k: int | Sequence[int],
        temperature: float,
    ) -> None:
        self._configs = {"train_dataloader": train_dataloader, "test_dataloader": test_dataloader}
        for key, config in self._configs.items():
            if not isinstance(config, dict):
                raise ConfigTypeError(f"{key} of {owner} must be a data loader's config, got {config!r}.")
        self._owner = owner
        self._k = list(k) if isinstance(k, Sequence) else [k]
        if not self._k:
            raise ConfigValueError(f"k of {owner} must be an int >= 1 or several, got none.")
        with as_config_errors():
            for number in self._k:
                check_integer(f"k of {owner}", number, minimum=1)
            check_positive(f"temperature of {owner}", temperature)
        self._temperature = temperature
        self.names = ["knn_top1"] if len(self._k) == 1 else [f"knn_top1_k{number}" for number in self._k]

    def build(self, runner: Runner) -> DataLoader[Any]:
        """Build both data loaders, and return the one of the images to classify.

        Raises:
            ValueError: If images cannot be read, if fewer images vote than there are neighbours, or if either set has
                fewer images than there are processes.
        """
        self._train = self._build(runner, "train_dataloader", at_least=max(*self._k, get_world_size()))
        self._test = self._build(runner, "test_dataloader", at_least=get_world_size())
        return self._test

    def accuracies(self, model: Any) -> dict[str, float]:
        """``knn_top1`` in per cent, or ``knn_top1_k20`` and so on with several ``k``.

        Args:
            model: A model with ``extract_feat``, already in the mode in which it is to compute.
        """
        bank = extract_features(model, self._train, f"train_dataloader of {self._owner}")
        queries = extract_features(model, self._test, f"test_dataloader of {self._owner}")
        shares = knn_accuracy(*bank, *queries, k=self._k, temperature=self._temperature)
        return {name: 100 * shares[k] for name, k in zip(self.names, self._k, strict=True)}

    def _build(self, runner: Runner, key: str, at_least: int) -> DataLoader[Any]:
        config: Any = copy.deepcopy(self._configs[key])
        # One by one, because update() of mmengine's configs would merge the new dicts into the old.
        config["sampler"] = {"type": "DefaultSampler", "shuffle": False, "round_up": False}
        config["drop_last"] = False
        config.pop("batch_sampler", None)
        config["collate_fn"] = {"type": "default_collate"}
        try:
            dataloader: Any = runner.build_dataloader(config, seed=runner.seed)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise ConfigValueError(f"{key}.dataset of {self._owner}: {error}") from error
        if len(dataloader.dataset) < at_least:
            raise ConfigValueError(
                f"{key} of {self._owner} must have at least {at_least} images (k = {max(self._k)}, number of "
                f"processes {get_world_size()}), got {len(dataloader.dataset)}."
            )
        return dataloader  # type: ignore[no-any-return]
