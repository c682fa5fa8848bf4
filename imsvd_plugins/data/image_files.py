"""Finds a folder's image files and reads them."""

import os
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

#: Suffixes of image files, upper or lower case.
SUFFIXES = frozenset(
    f".{kind}"
    for kind in (
        *("avif", "bmp", "gif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm"),
        *("tga", "tif", "tiff", "webp"),
    )
)


def find_image_files(root: str) -> tuple[list[str], list[str]]:
    """List the files below a folder, sorted, without hidden ones. Links to folders are followed, each folder only once.

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
    """Decode an image as the hosts' loaders do: in RGB, without transparency, the upper eight of 16 bits.

    Unlike them, it turns the image upright as its EXIF data say. It also stretches floating-point values from minimum
    to maximum, because they have no range of their own. Of an animation it reads the first frame.

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
            # Pillow would clip the values, and all but the darkest would be white.
            return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
        if image.mode == "P":
            # Pillow warns of a palette with transparency unless it becomes RGBA first.
            image = image.convert("RGBA")
        return image.convert("RGB")


def _stretched(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("it holds values that are not finite")
    return ((values - low) * (255 / max(high - low, 1e-30))).round().astype(np.uint8)


def printable_name(name: str) -> str:
    """A file's name as text that can be written as UTF-8; bytes of another encoding are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
