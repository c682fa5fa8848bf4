"""Finding the fault in the given settings, and reporting it in one line that names the key.

jsonargparse, LightningCLI's parser, reports an invalid setting in many lines that end with the whole model. This module
checks the settings again, one by one, until it finds the one that the parser rejects.
"""

import copy
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from importlib import import_module
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser

from imsvd_plugins.commands.lightly.given_settings import NODE

_OPTIONAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def find_fault(
    settings: dict[str, Any], roots: dict[str, type], others: dict[str, Any], linked: set[str]
) -> str | None:
    """The first setting that does not fit or is missing, and why.

    Args:
        settings: The result of :func:`~imsvd_plugins.commands.lightly.given_settings.given_settings`.
        roots: The class of each top-level key whose settings are a class's arguments.
        others: The type of each other top-level key.
        linked: Arguments that need not be given.

    Returns:
        One line, or None if all settings fit.
    """
    for name, value in settings.items():
        if name not in (names := [*roots, *others]):
            return f"{name}: there is no such setting{_close(name, names)}"
        if name in others and not _is_of(others[name], value):
            return f"{name}: must be {_shown(others[name])}, got {value!r}"
        if name in roots:
            is_class = isinstance(value, str) or (isinstance(value, dict) and not NODE.isdisjoint(value))
            fault = _in_class(name, value) if is_class else _in_arguments(name, roots[name], value)
            if fault:
                return fault
            if is_class and (fault := _of_class(name, value, [roots[name]], linked)):
                return fault
    return None


def _of_class(path: str, node: Any, expected: list[Any], linked: Iterable[str] = (), positional: int = 0) -> str | None:
    """The fault, if a class is not one of those expected or lacks an argument beside the first positional ones."""
    if isinstance(node, dict) and "class_path" not in node:
        return f"{path}: class_path is missing"
    if "." not in (class_path := _class_path(node)):
        # jsonargparse also accepts classes by their bare names.
        names = {known.__name__ for wanted in expected for known in _subclasses(wanted)}
        if class_path in names:
            return None
        return f"{path}: {class_path} is no import path such as imsvd_plugins.lightly.IMSVD{_close(class_path, names)}"
    cls = _import(class_path)
    if not (inspect.isclass(cls) and issubclass(cls, tuple(expected))):
        return f"{path}: must be {' or '.join(wanted.__name__ for wanted in expected)}, got {class_path}"
    given = {*linked, *((node.get("init_args") or {}) if isinstance(node, dict) else {})}
    needed = [
        name
        for name, parameter in list(inspect.signature(cls).parameters.items())[positional:]
        if parameter.default is parameter.empty and parameter.kind not in _OPTIONAL and name not in given
    ]
    return f"{path}: {cls.__name__} needs the argument {', '.join(needed)}" if needed else None


def _subclasses(cls: type) -> Iterator[type]:
    yield cls
    subclass: type
    for subclass in cls.__subclasses__():
        yield from _subclasses(subclass)


def _class_path(node: Any) -> str:
    return str(node if isinstance(node, str) else node["class_path"])


def _import(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    return getattr(import_module(module), name)


def _in_class(path: str, node: Any) -> str | None:
    """The first fault of a class and its arguments."""
    if isinstance(node, dict) and "class_path" not in node:
        return None  # The class is a default that jsonargparse knows.
    class_path = _class_path(node)
    if fault := _in_path(class_path):
        return f"{path}{'.class_path' if isinstance(node, dict) else ''}: {fault}"
    if isinstance(node, str):
        return None
    arguments = {**(node.get("init_args") or {}), **{key: part for key, part in node.items() if key not in NODE}}
    return _in_arguments(f"{path}.init_args", _import(class_path), arguments)


def _in_path(class_path: str) -> str | None:
    """The fault in a class's import path."""
    module, _, name = class_path.rpartition(".")
    if not module:
        return None
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
    """The first fault of a class's arguments."""
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
    """The reason why an argument rejects a value."""
    annotation = _annotation(cls, name)
    expected, positional = _expected(annotation)
    for entry in value if isinstance(value, list) else [value]:
        is_path = isinstance(entry, str) and "." in entry and " " not in entry
        if is_path and (fault := _in_path(entry)):
            return f": {fault}"
        if expected and (is_path or isinstance(entry, dict)):
            return _of_class("", entry, expected, positional=positional) or f": does not fit, got {entry}"
    return f": must be {_shown(annotation)}, got {value!r}"


def _nodes(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The classes with arguments in a value or, if it is a list, in its entries."""
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
    """Whether jsonargparse accepts the value, regardless of the other arguments."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, skip=set(accepted) - {name}, fail_untyped=False)
    try:
        parser.parse_object({name: copy.deepcopy(value)})  # a copy, because it changes the value
    except ArgumentError:
        return False
    return True


def _is_of(annotation: Any, value: Any) -> bool:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=annotation)
    try:
        parser.parse_object({"value": value})
    except ArgumentError:
        return False
    return True


def _expected(annotation: Any) -> tuple[list[Any], int]:
    """The classes that an argument takes, and the number of positional arguments with which it calls them."""
    options = [annotation] if get_origin(annotation) is Callable else get_args(annotation) or [annotation]
    for option in options:
        if get_origin(option) is Callable and _is_class(get_args(option)[1]):
            return [get_args(option)[1]], len(get_args(option)[0])
    return [option for option in options if _is_class(option) and option is not NoneType], 0


def _is_class(annotation: Any) -> bool:
    # Python 3.10 takes list[int] for a class.
    return inspect.isclass(annotation) and get_origin(annotation) is None


def _annotation(cls: Any, name: str) -> Any:
    try:
        return get_type_hints(cls.__init__).get(name)
    except NameError:  # of a type that is imported only for type checking
        return None


def _shown(annotation: Any) -> str:
    if annotation is None:
        return "of another type"
    text = annotation.__name__ if _is_class(annotation) else str(annotation)
    return re.sub(r"[A-Za-z_][\w.]*\.(\w+)", r"\1", text).replace("NoneType", "None")


def _close(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, [known for known in names if known[0] != "_"])
    return f"; did you mean {' or '.join(close)}?" if close else ""
