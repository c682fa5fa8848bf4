"""One option sets the folder of all image folder datasets in a config."""

import copy
import os
from collections.abc import Iterator
from typing import Any

from imsvd_plugins.openmmlab.data.arrays import ArrayFolder
from imsvd_plugins.openmmlab.data.image_folder import ImageFolder
from imsvd_plugins.registry import DATASETS


def with_folders(cfg: Any) -> Any:
    """Fill in the folders of a config's datasets, so that they need only ``--cfg-options data_root=PHOTOS``.

    Each :class:`~imsvd_plugins.openmmlab.data.image_folder.ImageFolder` in the config, and each subclass of it, takes
    the settings that it lacks from the config's top level: its folder from ``data_root``, or from ``labelled_root`` for
    a LabelledImageFolder; ``check_images``; and as ``cache_dir`` the folder ``image_check`` in ``work_dir``. A hook in
    ``custom_hooks`` without a folder is left out. An :class:`~imsvd_plugins.openmmlab.data.arrays.ArrayFolder` takes
    ``data_root``.

    Args:
        cfg: The config.

    Returns:
        A changed copy.
    """
    cfg = copy.deepcopy(cfg)
    for kind, dataset in _folders(cfg):
        given = {"data_root": cfg.get(kind.option)}
        if issubclass(kind, ImageFolder):
            given["check_images"] = cfg.get("check_images", True)
        if issubclass(kind, ImageFolder) and cfg.get("work_dir"):
            given["cache_dir"] = os.path.join(cfg["work_dir"], "image_check")
        for key, value in given.items():
            if dataset.get(key) is None:
                dataset[key] = value
    if cfg.get("custom_hooks"):
        cfg["custom_hooks"] = [
            hook
            for hook in cfg["custom_hooks"]
            if all(dataset["data_root"] is not None for _, dataset in _folders(hook))
        ]
    return cfg


def _folders(part: Any, key: str = "") -> Iterator[tuple[type[ImageFolder | ArrayFolder], Any]]:
    """All datasets of these kinds, each with its class."""
    if isinstance(part, dict) and key in ("dataset", "datasets"):
        kind = part.get("type")
        found = DATASETS.get(kind) if isinstance(kind, str) else kind
        if isinstance(found, type) and issubclass(found, (ImageFolder, ArrayFolder)):
            yield found, part
    items = part.items() if hasattr(part, "items") else ()
    for name, child in items:
        yield from _folders(child, name)
    for child in part if isinstance(part, (list, tuple)) else ():
        yield from _folders(child, key)
