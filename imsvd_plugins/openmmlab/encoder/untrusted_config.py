"""Restricting a checkpoint's config to building networks and views."""

import functools
import re
from typing import Any

from mmengine.registry import Registry
from mmpretrain.models.backbones.base_backbone import BaseBackbone

from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.registry import PluginRegistry

# Modules whose classes only compute. Other mmpretrain classes may download models that contain code.
_MODULES = (
    "imsvd_plugins.openmmlab.",
    "mmcv.cnn.",
    "mmcv.transforms.",
    "mmengine.model.",
    "mmengine.utils.dl_utils.parrots_wrapper.",
    "mmpretrain.datasets.transforms.",
    "mmpretrain.models.backbones.",
    "mmpretrain.models.necks.",
    "mmpretrain.models.utils.",
    "torch.nn.modules.",
    "torchvision.transforms.",
)
_SCOPES = ("imsvd_plugins", "mmpretrain", "mmengine", "mmcv")
# Settings that load weights from elsewhere. The checkpoint's weights replace them anyway.
_FOREIGN_WEIGHTS = ("init_cfg", "pretrained", "checkpoint_path")


def checked(node: PluginRegistry, key: str, config: Any) -> Any:
    """A copy of a part of a config that may be built, without settings that load weights from elsewhere.

    mmengine imports a type that is not registered by its name, so a type may be any function at all.

    Args:
        node: The registry of its types.
        key: The part's path in the config.
        config: The part, as plain data.

    Raises:
        ConfigValueError: If a type is not registered by mmpretrain, mmcv, mmengine or this package as a network or a
            transform, or timm would download a model.
    """
    if isinstance(config, dict):
        if "type" in config:
            _check_type(node, key, config["type"])
        if config.get("_scope_") not in (None, *_SCOPES):
            _refuse(f"{key}._scope_", config["_scope_"])
        name = config.get("model_name", "")
        if ":" in str(name):
            _refuse(f"{key}.model_name", name)
        return {
            name: checked(node, f"{key}.{name}", value)
            for name, value in config.items()
            if name not in _FOREIGN_WEIGHTS
        }
    if isinstance(config, (list, tuple)):
        return type(config)(checked(node, f"{key}[{index}]", value) for index, value in enumerate(config))
    return config


def _check_type(node: PluginRegistry, key: str, kind: Any) -> None:
    scope = "|".join(_SCOPES)
    name = re.sub(rf"^({scope})\.", "", kind) if isinstance(kind, str) else ""
    found = next((registry.module_dict[name] for registry in _chain(node) if name in registry.module_dict), None)
    if isinstance(found, functools.partial):  # of an mmpretrain class that wraps a torchvision transform
        found = found.func
    # Some pretraining methods have their own backbones.
    is_backbone = isinstance(found, type) and issubclass(found, BaseBackbone)
    if not (is_backbone or f"{getattr(found, '__module__', '')}.".startswith(_MODULES)):
        _refuse(f"{key}.type", kind)


def _chain(node: PluginRegistry) -> list[Registry]:
    chain: list[Registry] = [node, node.fallback]
    while chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    return chain


def _refuse(key: str, value: Any) -> None:
    raise ConfigValueError(
        f"the checkpoint's config is not followed: {key} = {value!r} is no network or transform of mmpretrain, mmcv, "
        "mmengine or imsvd_plugins. If you trust it, give the config's file by --config."
    )
