"""Rebuilding the views of a training on arrays from its settings."""

from typing import Any

from torchvision.transforms import v2 as T

from imsvd_plugins.data.array_files import ArrayFormat
from imsvd_plugins.data.channel_views import as_float
from imsvd_plugins.explain.encoder import View
from imsvd_plugins.lightly.components import make
from imsvd_plugins.lightly.data.arrays import Normalized, normalization


def array_format(data: dict[str, Any]) -> ArrayFormat | None:
    """The format of a data module's arrays; None if it is not ``ArraysDataModule``.

    Args:
        data: The data module's arguments, with its class under ``_class_path``.

    Raises:
        ValueError: If the arguments are invalid.
    """
    if str(data.get("_class_path")).rpartition(".")[2] != "ArraysDataModule":
        return None
    form = ArrayFormat(data.get("channels"), data.get("layout"))  # type: ignore[arg-type]  # checked here
    try:
        form.check()
    except (TypeError, ValueError) as error:
        raise ValueError(f"data.init_args: {error}") from error
    return form


def array_view(data: dict[str, Any], form: ArrayFormat, size: int | None, *, trusted: bool) -> View:
    """The evaluation view of arrays ``(C, H, W)``, normalised.

    Args:
        data: The arguments of ``ArraysDataModule``.
        form: The format of the arrays.
        size: Side in pixels to which the view resizes and crops; None for the settings' own.
        trusted: Whether the settings may name any class.

    Raises:
        ValueError: If the settings are invalid, or name a class that is not allowed.
    """
    steps = [as_float]
    if size is not None:
        steps += [T.Resize(size), T.CenterCrop(size)]
    elif data.get("val_transform"):
        steps.append(make("data.init_args.val_transform", data["val_transform"], trusted=trusted))
    try:
        normalize = normalization(data.get("mean", 0.0), data.get("std", 1.0), form.channels)
    except (TypeError, ValueError) as error:
        raise ValueError(f"data.init_args: {error}") from error
    return Normalized(T.Compose(steps), normalize)
