"""What the installed distributions declare, whatever state their metadata are in."""

import re
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, distributions


def entry_points() -> Iterator[tuple[str, str, Iterable[EntryPoint]]]:
    """Of each installed distribution its normalized name, its name and version, and its entry points.

    Another's broken metadata must not keep this package's own plug-ins from being found, so that each distribution is
    read by itself.
    """
    for index, found in enumerate(distributions()):
        try:
            metadata = found.read_text("METADATA") or found.read_text("PKG-INFO")
        except UnicodeDecodeError:
            metadata = "unreadable"
        if not metadata:
            continue  # The remnant of an installation: pip does not count it as installed either.
        # Of thousands of distributions a parser of mails would take seconds.
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
    """An error's class and message, whatever its message does."""
    try:
        message = str(error)
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as second:
        message = f"(its message raises {type(second).__name__})"
    return f"{type(error).__name__}: {message}"
