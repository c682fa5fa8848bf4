"""Plug-ins, which are used by name: the built-in ones and those of other installed distributions.

A plug-in is an entry point in one of the groups ``imsvd_plugins.kernels``, ``.losses``, ``.heads``, ``.transforms`` and
``.methods``; the group's last word is the plug-in's *kind*. Listing reads only metadata. A plug-in is imported when it
is loaded, so one that is broken or lacks its host does not affect the others.

Another distribution cannot take a built-in's name. With the environment variable ``IMSVD_PLUGINS_DISABLE_EXTERNAL=1``
other distributions' plug-ins are ignored altogether.

Example:
    >>> load("kernels", "imq").__name__
    'InverseMultiquadricKernel'
"""

import importlib
import os
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from imsvd_plugins._distributions import describe, entry_points
from imsvd_plugins._terminal import printable
from imsvd_plugins.extras import MissingExtraError

if TYPE_CHECKING:
    from imsvd_plugins.functional.kernels import Kernel

#: The kinds of plug-ins.
KINDS = ("kernels", "losses", "heads", "transforms", "methods")
#: The hosts' modules, and the extra that installs each.
EXTRA_OF_HOST = {
    "lightly": "lightly",
    "pytorch_lightning": "lightly",
    "mmcv": "mmcv-lite",
    "mmengine": "openmmlab",
    "mmpretrain": "openmmlab",
}
_BUILT_IN = "imsvd-plugins"


class Plugin(NamedTuple):
    """A plug-in's metadata, known without importing it.

    Attributes:
        kind: One of :data:`KINDS`.
        name: The name to load it by.
        value: Its location, ``"module:attribute"``.
        distribution: Name and version of the distribution that provides it; empty if the program registered it.
        rivals: Other distributions that declare this name. A built-in hides theirs; without a built-in, none of them
            can be loaded.
    """

    kind: str
    name: str
    value: str
    distribution: str
    rivals: tuple[str, ...] = ()

    @property
    def attr(self) -> str:
        """The object's name in its module, which an OpenMMLab config writes after ``imsvd_plugins.``."""
        return re.sub(r"\s*\[.*", "", self.value).rpartition(":")[2].rpartition(".")[2]


class PluginError(ImportError):
    """A plug-in that is installed but cannot be loaded; the original error is its ``__cause__``."""


class MissingHostError(PluginError, MissingExtraError):
    """A plug-in whose host is not installed; ``name`` is the missing module, a key of :data:`EXTRA_OF_HOST`."""


# Registered by this program, by (kind, name).
_registered: dict[tuple[str, str], Callable[..., Any]] = {}
_registering = Lock()


def available(kind: str | None = None) -> list[Plugin]:
    """List the plug-ins, of one kind or of all, without importing any.

    Args:
        kind: One of :data:`KINDS`; None for all.

    Returns:
        The plug-ins, sorted by kind and name. If two distributions declare the same name, both plug-ins are listed.

    Raises:
        ValueError: If there is no such kind.
    """
    if kind is not None:
        _check_kind(kind)
    registered = _registered.copy()  # because another thread may add to it
    own = [Plugin(*key, value=_where(obj), distribution="") for key, obj in registered.items()]
    installed = [plugin for key, found in _installed().items() if key not in registered for plugin in found]
    return sorted(plugin for plugin in own + installed if kind in (None, plugin.kind))


def load(kind: str, name: str) -> Any:
    """Import a plug-in.

    Args:
        kind: One of :data:`KINDS`.
        name: One of the names that :func:`available` lists for this kind.

    Returns:
        The object itself, usually a class.

    Raises:
        ValueError: If there is no such kind or name.
        MissingHostError: If its host is not installed.
        PluginError: If it cannot be imported, or if several distributions declare its name.
    """
    _check_kind(kind)
    if (kind, name) in _registered:
        return _registered[kind, name]
    found = _installed().get((kind, name), ())
    if not found:
        raise _unknown(f"name in {kind!r}", name, sorted({plugin.name for plugin in available(kind)}))
    if len(found) > 1:
        distributions = " and ".join(plugin.distribution for plugin in found)
        raise PluginError(f"{kind} plug-in {name!r} is declared by {distributions}: uninstall all but one of them.")
    return _import(found[0])


def create(kind: str, name: str, **kwargs: Any) -> Any:
    """Load a plug-in and call it with ``kwargs``; raises what :func:`load` raises and what the call raises."""
    return load(kind, name)(**kwargs)


def make_kernel(name: str) -> "Kernel":
    """Make the kernel of this name.

    Raises:
        ValueError: If there is no such name.
        PluginError: If it cannot be loaded, cannot be made without arguments, or lacks the interface of
            :class:`~imsvd_plugins.functional.kernels.Kernel`.
    """
    from imsvd_plugins.functional.kernels import Kernel  # noqa: PLC0415

    make = load("kernels", name)
    try:
        kernel = make()
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as error:
        raise PluginError(f"kernels plug-in {name!r} cannot be made without arguments: {describe(error)}") from error
    if not isinstance(kernel, Kernel):
        raise PluginError(
            f"kernels plug-in {name!r} must make an object with the interface of functional.kernels.Kernel, "
            f"got an object of type {type(kernel).__name__}."
        )
    return kernel


def register(kind: str, name: str, obj: Callable[..., Any], *, replace: bool = False) -> None:
    """Make an object of the running program, such as a notebook's class, usable by name until the program ends.

    Args:
        kind: One of :data:`KINDS`.
        name: Its name.
        obj: The class, or another callable that makes the object.
        replace: Whether it may replace another plug-in of this name, built-ins included.

    Raises:
        TypeError: If ``obj`` cannot be called.
        ValueError: If there is no such kind, or if the name is taken and ``replace`` is False.
    """
    _check_kind(kind)
    if not callable(obj):
        raise TypeError(f"obj must be a class or another callable, got {obj!r} of type {type(obj).__name__}.")
    with _registering:
        if not replace and (taken := [plugin.value for plugin in available(kind) if plugin.name == name]):
            raise ValueError(f"name {name!r} is taken in {kind!r} by {taken[0]}; pass replace=True to replace it.")
        _registered[kind, name] = obj


def refresh() -> None:
    """Look for installed plug-ins again, after the program has installed some; registered plug-ins stay."""
    importlib.invalidate_caches()
    _installed.cache_clear()


@lru_cache(maxsize=1)
def _installed() -> dict[tuple[str, str], tuple[Plugin, ...]]:
    """The plug-ins of installed distributions, by kind and name; several if distributions conflict."""
    external = os.environ.get("IMSVD_PLUGINS_DISABLE_EXTERNAL", "0") in ("", "0")
    declared: dict[tuple[str, str], dict[str, Plugin]] = {}
    projects: set[str] = set()
    for project, distribution, entries in entry_points():
        # If a distribution is found twice, the first counts, as for an import.
        if project in projects or not (external or project == _BUILT_IN):
            continue
        projects.add(project)
        for entry in entries:
            package, _, kind = entry.group.rpartition(".")
            if package == "imsvd_plugins" and kind in KINDS:
                plugin = Plugin(kind, entry.name, entry.value, distribution)
                declared.setdefault((kind, entry.name), {}).setdefault(project, plugin)
    return {key: _without_hidden(by_project) for key, by_project in declared.items()}


def _without_hidden(by_project: dict[str, Plugin]) -> tuple[Plugin, ...]:
    """The plug-ins of one name that are not hidden, each with its rivals: a built-in hides the others."""
    usable = [by_project[_BUILT_IN]] if _BUILT_IN in by_project else by_project.values()
    return tuple(
        plugin._replace(rivals=tuple(other.distribution for other in by_project.values() if other is not plugin))
        for plugin in usable
    )


def _import(plugin: Plugin) -> Any:
    where = printable(f"({plugin.value}) of {plugin.distribution}")
    what = f"{plugin.kind} plug-in {plugin.name!r} {where}"
    try:
        found = EntryPoint(plugin.name, plugin.value, f"imsvd_plugins.{plugin.kind}").load()
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as error:  # Such as SystemExit, if the module is a script.
        host = _missing_host(error)
        if host is None:
            raise PluginError(f"{what} cannot be loaded: {printable(describe(error))}") from error
        message = f"{what} needs {host}, which is not installed: pip install 'imsvd_plugins[{EXTRA_OF_HOST[host]}]'"
        raise MissingHostError(message, name=host) from error
    if not callable(found):
        raise PluginError(f"{what} must be a class, got an object of type {type(found).__name__}.")
    return found


def _missing_host(error: BaseException | None) -> str | None:
    """The host's module whose absence caused this error; None if something else did."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # a chain of errors can be circular
        if isinstance(error, ModuleNotFoundError) and error.name in EXTRA_OF_HOST:
            return error.name
        seen.add(id(error))
        error = error.__context__ if error.__cause__ is None else error.__cause__
    return None


def _where(obj: Callable[..., Any]) -> str:
    named: Any = obj if hasattr(obj, "__qualname__") else type(obj)
    return f"{named.__module__}:{named.__qualname__}"


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise _unknown("kind", kind, KINDS)


def _unknown(argument: str, got: str, allowed: Sequence[str]) -> ValueError:
    names = ", ".join(map(repr, allowed)) or "nothing, because imsvd_plugins itself is not installed"
    close = get_close_matches(got, allowed)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
    return ValueError(f"{argument} must be one of {names}, got {got!r}{hint}")
