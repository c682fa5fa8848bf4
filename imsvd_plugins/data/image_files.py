"""Image files: which of a folder's files are images, and what is in them."""

import os
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# What holds images by its name, in any case.
SUFFIXES = frozenset(
    f".{kind}"
    for kind in (
        *("avif", "bmp", "gif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm"),
        *("tga", "tif", "tiff", "webp"),
    )
)


def find_image_files(root: str) -> tuple[list[str], list[str]]:
    """The files below a folder, sorted, but for hidden ones; links to folders are followed, in circles only once.

    Args:
        root: The folder.

    Returns:
        Files that are images by their suffix (:data:`SUFFIXES`), and all others; relative to the folder.

    Raises:
        ValueError: If the folder, or one in it, cannot be listed.
    """
    found: list[str] = []
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise ValueError(f"{error.filename!r} cannot be read: {error.strerror}.") from error

    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [os.path.relpath(os.path.join(folder, name), root) for name in files if not name.startswith(".")]
    images = [file for file in found if Path(file).suffix.lower() in SUFFIXES]
    return sorted(images), sorted(set(found).difference(images))


def read_image(file: str | IO[bytes]) -> Image.Image:
    """Decode an image as the hosts' loaders do: in RGB, transparency dropped, 16 bits by their upper eight.

    Beyond what they do, the image is turned upright as its EXIF data say, and floating-point values are stretched from
    their least to their largest, because they have no range of their own. Of an animation it is the first picture.

    Args:
        file: A file's name, or the open file.

    Raises:
        Exception: Whatever a decoder raises for a damaged file.
    """
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode == "F":
            return Image.fromarray(_stretched(np.asarray(image))).convert("RGB")
        if image.mode == "I" or image.mode.startswith("I;16"):
            # Pillow would clip, and all but the darkest would be white.
            return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
        if image.mode == "P":
            # Of a palette with transparency Pillow warns unless it becomes RGBA first.
            image = image.convert("RGBA")
        return image.convert("RGB")


def _stretched(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("it holds values that are not finite")
    return ((values - low) * (255 / max(high - low, 1e-30))).round().astype(np.uint8)


def printable_name(name: str) -> str:
    """A file's name as text that can be written as UTF-8; bytes of another encoding are spelt out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
