"""Adds this package's models to mmpretrain's hub."""

from pathlib import Path

from mmpretrain.apis import ModelHub

import imsvd_plugins

_MIM = Path(imsvd_plugins.__file__).parent / ".mim"


def register() -> None:
    """Make the shipped configs available by name to ``mmpretrain.list_models`` and ``get_model``."""
    ModelHub.register_model_index(_MIM / "model-index.yml", config_prefix=_MIM)
