"""What is wrong in the given settings, in one line that names the key.

jsonargparse, LightningCLI's parser, refuses what does not fit in a text of many lines that ends in the whole model.
Here the settings are looked at again, one by one, until the one is found that it does not take.
"""

import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import yaml  # type: ignore[import-untyped]
from jsonargparse import ArgumentError, ArgumentParser

_NODE = {"class_path", "init_args", "dict_kwargs"}
_OPTIONAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def given_settings(argv: list[str]) -> dict[str, Any]:
    """The settings of config files and command line as nested dictionaries, the later ones over the earlier.

    Args:
        argv: A subcommand and its options.

    Returns:
        Empty if a config is no file that can be read, or no YAML with keys.
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
    """Set a dotted key; an entry of a list is its last, and the settings of another class are dropped."""
    name, _, rest = key.partition(".")
    if "class_path" in node and name not in _NODE:
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


def find_fault(settings: dict[str, Any], roots: dict[str, type], others: Iterable[str], linked: set[str]) -> str | None:
    """The first setting that does not fit or is missing, and why.

    Args:
        settings: As :func:`given_settings` gives them.
        roots: The class of each top-level key whose settings are a class' arguments.
        others: The other top-level keys.
        linked: Arguments that need not be given.

    Returns:
        One line, or None if all of them fit.
    """
    for name, value in settings.items():
        if name not in (names := [*roots, *others]):
            return f"{name}: there is no such setting{_close(name, names)}"
        if name in roots:
            is_class = isinstance(value, str) or (isinstance(value, dict) and not _NODE.isdisjoint(value))
            fault = _in_class(name, value) if is_class else _in_arguments(name, roots[name], value)
            if fault:
                return fault
            if is_class and (fault := _of_class(name, value, [roots[name]], linked)):
                return fault
    return None


def _of_class(path: str, node: Any, expected: list[Any], linked: Iterable[str] = ()) -> str | None:
    """Whether a class is one of those expected, and has all the arguments it needs."""
    if isinstance(node, dict) and "class_path" not in node:
        return f"{path}: class_path is missing"
    if "." not in (class_path := _class_path(node)):
        return None
    cls = _import(class_path)
    if not (inspect.isclass(cls) and issubclass(cls, tuple(expected))):
        return f"{path}: must be {' or '.join(wanted.__name__ for wanted in expected)}, got {class_path}"
    given = {*linked, *((node.get("init_args") or {}) if isinstance(node, dict) else {})}
    needed = [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty and parameter.kind not in _OPTIONAL and name not in given
    ]
    return f"{path}: {cls.__name__} needs the argument {', '.join(needed)}" if needed else None


def _class_path(node: Any) -> str:
    return str(node if isinstance(node, str) else node["class_path"])


def _import(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    return getattr(import_module(module), name)


def _in_class(path: str, node: Any) -> str | None:
    """The first fault of a class and its arguments."""
    if isinstance(node, dict) and "class_path" not in node:
        return None  # The class is a default, which jsonargparse knows.
    class_path = _class_path(node)
    if fault := _in_path(class_path):
        return f"{path}{'.class_path' if isinstance(node, dict) else ''}: {fault}"
    if isinstance(node, str):
        return None
    arguments = {**(node.get("init_args") or {}), **{key: part for key, part in node.items() if key not in _NODE}}
    return _in_arguments(f"{path}.init_args", _import(class_path), arguments)


def _in_path(class_path: str) -> str | None:
    """What is wrong with a class' import path."""
    module, _, name = class_path.rpartition(".")
    if not module:
        return None  # jsonargparse also finds classes by their bare names.
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            return f"{class_path} needs {error.name}, which is not installed"
        parent, _, part = error.name.rpartition(".")
        folders = getattr(import_module(parent), "__path__", []) if parent else None
        close = _close(part, [known.name for known in pkgutil.iter_modules(folders)])
        return f"there is no module {error.name}{close}"
    except ImportError as error:
        return f"{module} cannot be imported: {error}"
    return None if hasattr(found, name) else f"there is no {name} in {module}{_close(name, dir(found))}"


def _in_arguments(path: str, cls: Any, arguments: Any) -> str | None:
    """The first fault of a class' arguments."""
    if not isinstance(arguments, dict):
        return f"{path}: must be arguments of {cls.__name__} by name, got {arguments!r}"
    accepted = _accepted(cls)
    for name, value in arguments.items():
        if name not in accepted:
            return f"{path}.{name}: {cls.__name__} has no argument {name}{_close(name, accepted)}"
        for key, node in _nodes(f"{path}.{name}", value):
            if fault := _in_class(key, node):
                return fault
        if not _fits(cls, name, accepted, value):
            return f"{path}.{name}{_mismatch(cls, name, value)}"
    return None


def _mismatch(cls: Any, name: str, value: Any) -> str:
    """Why an argument does not take a value."""
    annotation = _annotation(cls, name)
    expected = [wanted for wanted in get_args(annotation) or [annotation] if _is_class(wanted)]
    for entry in value if isinstance(value, list) else [value]:
        is_path = isinstance(entry, str) and "." in entry and " " not in entry
        if is_path and (fault := _in_path(entry)):
            return f": {fault}"
        if expected and (is_path or isinstance(entry, dict)):
            return _of_class("", entry, expected) or f": does not fit, got {entry}"
    return f": must be {_shown(annotation)}, got {value!r}"


def _nodes(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The classes with arguments of their own, in a value or its list."""
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _nodes(f"{path}[{index}]", entry)
    elif isinstance(value, dict) and "class_path" in value:
        yield path, value


def _accepted(cls: Any) -> list[str]:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, fail_untyped=False)
    return list(dict.fromkeys(key.partition(".")[0] for key in parser.get_defaults().keys()))  # noqa: SIM118


def _fits(cls: Any, name: str, accepted: list[str], value: Any) -> bool:
    """Whether jsonargparse takes the value, whatever the other arguments are."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, skip=set(accepted) - {name}, fail_untyped=False)
    try:
        parser.parse_object({name: value})
    except ArgumentError:
        return False
    return True


def _annotation(cls: Any, name: str) -> Any:
    try:
        return get_type_hints(cls.__init__).get(name)
    except NameError:  # of a type that is imported for type checking alone
        return None


def _is_class(annotation: Any) -> bool:
    return inspect.isclass(annotation) and annotation is not NoneType


def _shown(annotation: Any) -> str:
    if annotation is None:
        return "of another type"
    text = annotation.__name__ if inspect.isclass(annotation) else str(annotation)
    return re.sub(r"[A-Za-z_][\w.]*\.(\w+)", r"\1", text).replace("NoneType", "None")


def _close(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, [known for known in names if known[0] != "_"])
    return f"; did you mean {' or '.join(close)}?" if close else ""
