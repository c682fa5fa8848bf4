"""Refuses hue jitter where mmcv cannot do it."""

from collections.abc import Iterator
from typing import Any

import mmcv
import numpy as np
from mmengine.config import Config

from imsvd_plugins.openmmlab.errors import ConfigValueError

_DATALOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def check_hue_jitter(cfg: Config) -> None:
    """Refuse a config with hue jitter if the installed mmcv fails at it.

    mmcv 2.2.0 converts a negative change of the hue to uint8, which numpy 2 refuses, and the first batch fails.

    Args:
        cfg: A config of mmpretrain's tools.

    Raises:
        ConfigValueError: If a dataloader jitters the hue, and the installed mmcv and numpy cannot.
    """
    found = [where for key in _DATALOADERS for where in _hue_jitters(cfg.get(key), key)]
    if found and not _adjusts_hue():
        raise ConfigValueError(
            f"{found[0]} jitters the hue, at which mmcv {mmcv.__version__} fails under numpy {np.__version__}: "
            "pip install 'numpy<2', or on Python 3.13 replace OpenMMLab's packages by imsvd_plugins[onedl]."
        )


def _hue_jitters(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        kind = value.get("type")
        # A config in mmengine's new style names the class itself.
        name = kind if isinstance(kind, str) else f"{getattr(kind, '__module__', '')}.{getattr(kind, '__name__', '')}"
        if name.rpartition(".")[2] == "ColorJitter" and "torchvision" not in name:
            hue = value.get("hue", 0)
            if (hue[0] if isinstance(hue, list | tuple) else -hue) < 0:
                yield where
        for key, inner in value.items():
            yield from _hue_jitters(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _hue_jitters(inner, f"{where}[{index}]")


def _adjusts_hue() -> bool:
    try:
        mmcv.adjust_hue(np.zeros((1, 1, 3), np.uint8), -0.1)
    except OverflowError:
        return False
    return True
