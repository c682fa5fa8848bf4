"""A report's folder that appears only when complete. Imports fast, because a command checks arguments with it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The file that distinguishes a report from another folder.
_NUMBERS = "report.json"


def check_folder(out: Path) -> None:
    """Raise a ValueError if writing to ``out`` would lose anything but an earlier report, or cannot work."""
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
    """A folder to write to, beside ``out``. It replaces ``out`` on success and is removed on failure."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        if out.exists():
            shutil.rmtree(out)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
