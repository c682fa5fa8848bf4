"""Builds the parts of a config with errors that name the key at fault; mmengine's own name a class at most."""

import inspect
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from torch import nn

from imsvd_plugins.openmmlab.errors import ConfigTypeError, ConfigValueError
from imsvd_plugins.registry import MODELS


def build(key: str, cfg: Any, *, known: Sequence[str] = ()) -> Any:
    """Build a module from its config.

    Args:
        key: Key of the config, such as ``"model.head.loss"``.
        cfg: The config.
        known: Types to suggest in place of an unknown one; by default those with similar names.

    Raises:
        TypeError: If it is not a config, or a setting has the wrong type.
        ValueError: If the type is unknown, a setting is unknown, missing or out of range.
    """
    if not isinstance(cfg, dict) or "type" not in cfg:
        raise ConfigTypeError(f"{key} must be a config, a dict with a type, got {cfg!r}.")
    try:
        return MODELS.build(cfg)
    except (KeyError, TypeError, ValueError) as error:
        message = str(error.args[0]) if error.args else ""
        if key in message:
            # A nested part has already named its own key.
            raise
        if f"{cfg['type']} is not in the " in message:
            raise ConfigValueError(_unknown_type(key, cfg["type"], known)) from None
        if fault := next(_wrong_settings(key, cfg), None):
            raise ConfigValueError(fault) from error
        # The losses' messages begin with the setting's name.
        setting = re.match(r"\w*", message)
        separator = "." if setting and setting[0] in cfg else ": "
        # Errors of this package's classes are about the config; those of other classes may be faults in their code.
        own = getattr(class_of(cfg), "__module__", "").startswith("imsvd_plugins.")
        types = (ConfigTypeError, ConfigValueError) if own else (TypeError, ValueError)
        raise types[not isinstance(error, TypeError)](f"{key}{separator}{message}") from error


def output_width(cfg: Any, module: nn.Module) -> int | None:
    """Width of a neck's output, from its config or else from its last linear layer; None if unknown."""
    width = cfg.get("out_channels") if isinstance(cfg, dict) else None
    if isinstance(width, int):
        return width
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return layers[-1].out_features if layers else None


def class_of(cfg: Any) -> type | None:
    """The class that a config names; None if unknown."""
    kind = cfg.get("type") if isinstance(cfg, dict) else None
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    return found if isinstance(found, type) else None


def _unknown_type(key: str, kind: str, known: Sequence[str]) -> str:
    registered = [*MODELS.fallback.module_dict, *(f"imsvd_plugins.{name}" for name in MODELS.module_dict)]
    names = known or get_close_matches(kind, registered)
    such = f" such as {' or '.join(map(repr, names))}" if names else ""
    return f"{key}.type must be the name of a registered class{such}, got {kind!r}."


def _wrong_settings(key: str, cfg: dict[str, Any]) -> Iterator[str]:
    """Yield an error for each unknown or missing setting."""
    found = class_of(cfg)
    if found is None:
        return
    parameters = dict(inspect.signature(found).parameters)
    open_ended = [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_KEYWORD]
    for name in cfg:
        if name not in (*parameters, "type", "_scope_") and not open_ended:
            yield f"{key}.{name} is no setting of {found.__name__}; its settings are {', '.join(parameters)}."
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if required and name not in cfg:
            yield f"{key}.{name} must be given for {found.__name__}."
