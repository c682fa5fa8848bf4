"""A report as a folder: the page, the figures and the numbers."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imsvd_plugins.explain.figures import write_figures
from imsvd_plugins.explain.images import Images
from imsvd_plugins.explain.page import write_page
from imsvd_plugins.explain.report import Report

PAGE, NUMBERS = "index.html", "report.json"


def write_report(report: Report, images: Images, out: str | os.PathLike[str], max_thumbnails: int = 3000) -> Path:
    """Write ``index.html``, a page that opens from disk, figures (PNG), ``report.json`` and ``report.npz``.

    Everything is written beside ``out`` and takes its place once it is whole.

    Args:
        report: The report.
        images: The images that it was made from.
        out: The folder; an earlier report there is replaced.
        max_thumbnails: The greatest number of images that the page shows; the numbers are of all.

    Returns:
        The page.

    Raises:
        ValueError: If ``out`` is neither new nor an earlier report, or the images are not the report's.
        OSError: If something cannot be written.
    """
    out = Path(out)
    check_folder(out)
    with _whole_folder(out) as folder:
        report.save(folder)
        write_figures(report, folder)
        write_page(report, images, folder / PAGE, max_thumbnails=max_thumbnails)
    return out / PAGE


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
    return (folder / NUMBERS).is_file()


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
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
