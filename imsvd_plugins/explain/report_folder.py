"""A report as a folder: the page, the figures and the numbers."""

import os
from pathlib import Path

from imsvd_plugins.explain.figures import write_figures
from imsvd_plugins.explain.images import Images
from imsvd_plugins.explain.page import write_page
from imsvd_plugins.explain.report import Report
from imsvd_plugins.explain.whole_folder import check_folder, whole_folder

PAGE = "index.html"


def write_report(report: Report, images: Images, out: str | os.PathLike[str], max_thumbnails: int = 3000) -> Path:
    """Write ``index.html``, a page that opens from disk, figures (PNG), ``report.json`` and ``report.npz``.

    Everything is written beside ``out`` and replaces it when it is complete.

    Args:
        report: The report.
        images: The images that it was made from.
        out: The folder; an earlier report there is replaced.
        max_thumbnails: The largest number of images that the page shows; the numbers cover all images.

    Returns:
        The page.

    Raises:
        ValueError: If ``out`` is neither new nor an earlier report, or the images are not the report's.
        OSError: If a file cannot be written.
    """
    out = Path(out)
    check_folder(out)
    with whole_folder(out) as folder:
        report.save(folder)
        write_figures(report, folder)
        write_page(report, images, folder / PAGE, max_thumbnails=max_thumbnails)
    return out / PAGE
