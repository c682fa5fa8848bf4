"""This package's models in mmpretrain's hub, beside mmpretrain's own."""

from pathlib import Path

from mmpretrain.apis import ModelHub

import imsvd_plugins

_MIM = Path(imsvd_plugins.__file__).parent / ".mim"


def register() -> None:
    """Let ``mmpretrain.list_models`` and ``get_model`` know the shipped configs by their names."""
    ModelHub.register_model_index(_MIM / "model-index.yml", config_prefix=_MIM)
