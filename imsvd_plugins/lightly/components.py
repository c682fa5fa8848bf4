"""Building networks and transforms from a training's config, ``class_path`` and ``init_args``."""

import inspect
from enum import Enum
from importlib import import_module
from typing import Any

# Modules that may be imported, and modules whose classes only compute.
_COMMON = ("lightly.models.", "lightly.transforms.", "timm.models.", "torchvision.models.", "torchvision.transforms.")
_IMPORTED = (*_COMMON, "imsvd_plugins.lightly.", "torch.nn.")
_OWN = tuple(f"imsvd_plugins.lightly.{module}." for module in ("backbones", "heads", "transforms"))
_DEFINED = (*_COMMON, *_OWN, "torch.nn.modules.")
_TIMM_BACKBONE = "imsvd_plugins.lightly.backbones.TimmBackbone"


def make(key: str, component: Any, *, trusted: bool) -> Any:
    """Build what a config describes; values that are not components are returned unchanged.

    Args:
        key: The component's path in the config.
        component: ``{"class_path": ..., "init_args": {...}}``, a list or dict of such, or any value.
        trusted: Whether it may name any class. If not, only networks and transforms of Lightly, torch, torchvision,
            timm and this package are allowed.

    Raises:
        ValueError: If the class is not allowed or does not exist, or rejects its arguments.
    """
    if isinstance(component, list):
        return [make(f"{key}[{index}]", value, trusted=trusted) for index, value in enumerate(component)]
    if not isinstance(component, dict):
        return component
    settings = {
        name: make(f"{key}.{name}", value, trusted=trusted)
        for name, value in (component.get("init_args") or {} if "class_path" in component else component).items()
    }
    if "class_path" not in component:
        return settings
    path = component["class_path"]
    if not trusted and not (isinstance(path, str) and path.startswith(_IMPORTED)):
        raise _refusal(key, path)
    if path == _TIMM_BACKBONE and not trusted:
        settings = _without_downloads(key, settings)
    module, _, name = str(path).rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{key}.class_path: there is no class {path!r} here ({error}).") from error
    if not isinstance(found, type):
        raise ValueError(f"{key}.class_path must be a class, and {path!r} is none.")
    if not trusted and not f"{found.__module__}.".startswith(_DEFINED):
        raise _refusal(key, path)
    try:
        return found(**_with_enums(found, settings))
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{key}: {path} does not take its settings: {error}") from error


def _with_enums(kind: type, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with enumeration members in place of their names, which LightningCLI saves."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}
    return {
        name: type(default)[value] if isinstance(value, str) and isinstance(default, Enum) else value
        for name, value in settings.items()
        for default in [defaults.get(name)]
    }


def _refusal(key: str, path: Any) -> ValueError:
    return ValueError(
        f"the checkpoint's config is not followed: {key} = {path!r} is no network or transform of Lightly, torch, "
        "torchvision, timm or imsvd_plugins. If you trust it, give the training's YAML file by --config."
    )


def _without_downloads(key: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a timm model without those that load weights from elsewhere; the checkpoint has the weights."""
    if ":" in str(settings.get("name")):
        raise ValueError(f"the checkpoint's config is not followed: {key} = {settings['name']!r} would be downloaded.")
    options = settings.get("options") or {}
    kept = {
        name: value for name, value in options.items() if not name.startswith(("pretrained", "checkpoint", "cache"))
    }
    own: dict[str, Any] = {name: settings[name] for name in ("name", "in_channels") if name in settings}
    return {**own, "options": kept}
