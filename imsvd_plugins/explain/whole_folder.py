"""A report's folder that is whole or is not there. Light to import: a command looks at its arguments with it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What tells a report from another folder.
_NUMBERS = "report.json"


def check_folder(out: Path) -> None:
    """Raise a ValueError if something other than a report would be lost."""
    if not out.parent.is_dir():
        raise ValueError(f"out must be in an existing folder, got {str(out)!r}.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, and {str(out)!r} is a file.")
    if out.exists() and any(out.iterdir()) and not is_report(out):
        raise ValueError(f"out must be a new folder or an earlier report's, and {str(out)!r} holds other files.")


def is_report(folder: Path) -> bool:
    """Whether the folder holds a report."""
    return (folder / _NUMBERS).is_file()


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to write to, beside ``out``, which takes its place if all went well and is removed if not."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        if out.exists():
            shutil.rmtree(out)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
