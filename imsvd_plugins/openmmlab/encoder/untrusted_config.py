"""A config out of a checkpoint builds networks and views, and nothing else."""

import functools
import re
from typing import Any

from mmengine.registry import Registry
from mmpretrain.models.backbones.base_backbone import BaseBackbone

from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.registry import PluginRegistry

# Where classes come from that do nothing but compute. mmpretrain's others may download models, with code in them.
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
# Weights from elsewhere, which the checkpoint's replace anyway.
_FOREIGN_WEIGHTS = ("init_cfg", "pretrained", "checkpoint_path")


def checked(node: PluginRegistry, key: str, config: Any) -> Any:
    """A copy of a part of a config that may be built, without what would load weights from elsewhere.

    mmengine imports what a type names if it is not registered, and so a type may be any function at all.

    Args:
        node: Where its types are registered.
        key: Where it stands in the config.
        config: The part: plain data.

    Raises:
        ConfigValueError: If a type is not registered by mmpretrain, mmcv, mmengine or this package as a network or a
            transform, or timm is to download a model.
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
    if isinstance(found, functools.partial):  # of a class of mmpretrain's that wraps one of torchvision's transforms
        found = found.func
    # Some pretrainings have backbones of their own.
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
