"""Entry points of the installed distributions, even if some distributions' metadata are broken."""

import re
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, distributions


def entry_points() -> Iterator[tuple[str, str, Iterable[EntryPoint]]]:
    """Yield each installed distribution's normalized name, its name and version, and its entry points.

    Each distribution is read by itself, so that broken metadata of another do not hide this package's own plug-ins.
    """
    for index, found in enumerate(distributions()):
        try:
            metadata = found.read_text("METADATA") or found.read_text("PKG-INFO")
        except UnicodeDecodeError:
            metadata = "unreadable"
        if not metadata:
            continue  # The remnant of an installation, which pip does not count as installed either.
        # For thousands of distributions the standard library's email parser would take seconds.
        headers = dict(re.findall(r"^(Name|Version):[ \t]*(.*?)\s*$", metadata.partition("\n\n")[0], re.MULTILINE))
        if name := headers.get("Name"):
            project, label = re.sub(r"[-_.]+", "-", name).lower(), f"{name} {headers.get('Version', '')}".strip()
        else:
            project, label = f"unnamed {index}", f"unnamed distribution in {found.locate_file('')}"
        try:
            mentioned = "imsvd_plugins." in (found.read_text("entry_points.txt") or "")
            entries: Iterable[EntryPoint] = found.entry_points if mentioned else ()
        except Exception as error:
            warnings.warn(f"plug-ins of {label!r} are passed over: {describe(error)}", stacklevel=2)
            entries = ()
        yield project, label, entries


def describe(error: BaseException) -> str:
    """An error's class and message, even if the message itself raises."""
    try:
        message = str(error)
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as second:
        message = f"(its message raises {type(second).__name__})"
    return f"{type(error).__name__}: {message}"
