"""Finds what would stop a training on arrays before its first step."""

from pathlib import Path
from typing import Any

from torch import nn

from imsvd_plugins.openmmlab.data.arrays import ArrayFolder
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.training.datasets import datasets_of
from imsvd_plugins.registry import DATASETS
from imsvd_plugins.training.input_channels import input_channels


def check_array_folders(cfg: Any, model: nn.Module, cache: Path) -> None:
    """Check that backbone and normalisation fit the channels, then read every array of the config's folders once.

    Args:
        cfg: The whole config.
        model: The built model.
        cache: A folder for the results.

    Raises:
        ConfigValueError: If something does not fit, or an array is wrong; it names the key or the file.
    """
    for key, config in datasets_of(cfg):
        found = DATASETS.get(config["type"]) if isinstance(config.get("type"), str) else config.get("type")
        if not (isinstance(found, type) and issubclass(found, ArrayFolder)):
            continue
        dataset = found(**{**{name: value for name, value in config.items() if name != "type"}, "pipeline": []})
        channels = dataset.form.channels
        _check_fits(key, channels, model)
        try:
            dataset.check(cache)
        except ConfigValueError as error:
            raise ConfigValueError(f"{key}: {error}") from error


def _check_fits(key: str, channels: int, model: nn.Module) -> None:
    backbone = getattr(model, "backbone", None)
    taken = None if backbone is None else input_channels(backbone)
    if taken not in (None, channels):
        raise ConfigValueError(f"model.backbone.in_channels must be {key}.channels, {channels}, got {taken}.")
    mean = getattr(getattr(model, "data_preprocessor", None), "mean", None)
    if mean is not None and len(mean) not in (1, channels):
        raise ConfigValueError(
            f"data_preprocessor.mean and std must hold {channels} values, one for each of {key}.channels, or 1, got "
            f"{len(mean)}."
        )
