"""The settings given to a command, as in its config files and options."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

NODE = {"class_path", "init_args", "dict_kwargs"}  # the keys of a class with its arguments


def given_settings(argv: list[str]) -> dict[str, Any]:
    """The settings of config files and command line as nested dictionaries; later ones override earlier ones.

    Args:
        argv: A subcommand and its options.

    Returns:
        The settings; empty if a config cannot be read or is not a YAML mapping.
    """
    settings: dict[str, Any] = {}
    for key, value in _options(argv):
        if key not in ("config", "c"):
            _set(settings, key, _yaml(value))
            continue
        try:
            config = yaml.safe_load(Path(value).read_text())
        except (OSError, yaml.YAMLError):
            return {}
        if not isinstance(config, dict):
            return {}
        for name, part in config.items():
            _set(settings, str(name), part)
    return settings


def _options(argv: list[str]) -> Iterator[tuple[str, str]]:
    for position, word in enumerate(argv):
        key, has_value, value = word.lstrip("-").partition("=")
        is_help = key in ("h", "help") or key.endswith(".help") or key.startswith("print_config")
        if word.startswith("-") and not word[1:2].isdigit() and not is_help:
            following = argv[position + 1] if argv[position + 1 :] else ""
            yield key, value if has_value else "" if following.startswith("--") else following


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _set(node: Any, key: str, value: Any) -> None:
    """Set a dotted key. In a list it applies to the last entry, and a new class drops the old one's settings."""
    name, _, rest = key.partition(".")
    if "class_path" in node and name not in NODE:
        node = node.setdefault("init_args", {})
    if isinstance(node.get(name), str) and rest:
        node[name] = {"class_path": node[name]}
    if name.endswith("+"):
        node[name[:-1]] = [*(node.get(name[:-1]) or []), value]
    elif rest:
        below = node.setdefault(name, {})
        if isinstance(below, list) and below:
            below[-1] = {"class_path": below[-1]} if isinstance(below[-1], str) else below[-1]
            below = below[-1]
        if isinstance(below, dict):
            _set(below, rest, value)
        else:
            node[name] = {}
            _set(node[name], rest, value)
    elif isinstance(value, dict) and isinstance(node.get(name), dict):
        for inner, part in value.items():
            _set(node[name], inner, part)
    else:
        if name == "class_path" and node.get(name) != value:
            node.pop("init_args", None)
        node[name] = value
