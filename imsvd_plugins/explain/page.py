"""A report as one HTML page that opens from disk, without a network connection."""

import base64
import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import Protocol

import jinja2
from markupsafe import Markup
from PIL import Image

from imsvd_plugins.explain.page_data import page_data
from imsvd_plugins.explain.report import Report
from imsvd_plugins.explain.shown_images import choose_images
from imsvd_plugins.explain.sprites import encode_webp, make_sprites

# In the order in which they build on each other.
_SCRIPTS = (
    "data.js",
    "elements.js",
    "thumbnails.js",
    "heatmaps.js",
    "charts.js",
    "samples.js",
    "overview.js",
    "pairs.js",
    "variable_table.js",
    "variable.js",
    "bins.js",
    "images.js",
    "image.js",
    "attributions.js",
    "representation.js",
    "search.js",
    "addresses.js",
)
_PICTURE_SIDE = 224


class ImagesByIndex(Protocol):
    """Images in a fixed order, as :func:`~imsvd_plugins.explain.images.open_images` gives them."""

    names: list[str]

    def __getitem__(self, index: int) -> Image.Image:
        """The image, RGB."""
        ...


def write_page(report: Report, images: ImagesByIndex, file: str | os.PathLike[str], max_thumbnails: int = 3000) -> None:
    """Write a report as one self-contained HTML page.

    The page holds the numbers of all variables, and the thumbnails, names and bins of at most ``max_thumbnails``
    images. It is written beside ``file`` and renamed when it is complete.

    Args:
        report: The report.
        images: The images that the report was made from, including the skipped ones.
        file: The page's file; an existing file is replaced.
        max_thumbnails: The largest number of images that the page shows, at least 1.

    Raises:
        ValueError: If ``max_thumbnails`` is below 1, or the images are not the report's.
        OSError: If the page cannot be written.
    """
    if max_thumbnails < 1:
        raise ValueError(f"max_thumbnails must be at least 1, got {max_thumbnails}.")
    if len(images.names) <= max(report.positions) or [images.names[at] for at in report.positions] != report.names:
        raise ValueError(f"images must be those of the report, {report.source}, got {len(images.names)} other ones.")
    shown, uniform = choose_images(report, max_thumbnails)
    sprites = make_sprites(images[int(report.positions[index])] for index in shown)
    attributed = sorted({each.image for each in report.attributions})
    data = page_data(report, shown, uniform) | {
        "sprites": {"side": sprites.side, "columns": sprites.columns, "perSheet": sprites.per_sheet},
        "pictures": {str(index): _text(_picture(images[int(report.positions[index])])) for index in attributed},
    }
    folder = resources.files("imsvd_plugins.explain") / "templates"
    script = "".join((folder / name).read_text("utf-8") for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\nstart();\n}})();\n'
    style = (folder / "page.css").read_text("utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("page.html").render(
        report=report,
        data=data,
        sheets=[_text(sheet) for sheet in sprites.sheets],
        # Trusted, because they are this package's own files. The policy lets the browser run only these texts.
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
    )
    _write(page, Path(file))


def _picture(image: Image.Image) -> bytes:
    picture = image.convert("RGB")
    picture.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    return encode_webp(picture)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _hash(text: str) -> str:
    return f"sha256-{_text(hashlib.sha256(text.encode()).digest())}"


def _write(page: str, file: Path) -> None:
    """Write a page that appears only when it is complete."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        # File names on disk may hold bytes that are not text.
        part.write_bytes(page.encode("utf-8", errors="replace"))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
