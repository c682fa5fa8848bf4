"""Finding the images of a folder and checking which of them can be read."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn

from imsvd_plugins.data.image_check import find_unreadable
from imsvd_plugins.data.image_files import find_image_files, printable_name
from imsvd_plugins.data.progress import ImageProgress


class Found(NamedTuple):
    """The images of a folder.

    Attributes:
        root: The folder.
        files: All images, by name in the folder, sorted.
        readable: Those that can be read; all if the images were not checked.
        unreadable: The others, each with the reason.
        others: Number of files that are not images.
    """

    root: str
    files: list[str]
    readable: list[str]
    unreadable: dict[str, str]
    others: int


def find_images(setting: str, root: str, check: bool, cache: Path | None) -> Found:
    """Find a folder's images.

    Args:
        setting: The folder's name in the settings.
        root: The folder.
        check: Whether to decode the images.
        cache: A file that stores which images were decoded; None to store nothing.

    Raises:
        OSError: If the cache cannot be written.
        ValueError: If the folder cannot be listed, or holds no image that can be read.
    """
    files, others = find_image_files(root)
    unreadable: dict[str, str] = {}
    if check and files:
        with ImageProgress(len(files), "images checked") as progress:
            unreadable = find_unreadable(root, files, cache, progress)
    readable = [file for file in files if file not in unreadable]
    if not readable:
        first = next(iter(unreadable), None)
        reason = f", such as {printable_name(first)} ({unreadable[first]})" if first is not None else ""
        seen = f"{len(files)} images that cannot be read{reason}" if files else f"no image among {len(others)} files"
        raise ValueError(f"{setting} must be a folder of images (.jpg, .png, .tiff and the like), {root!r} has {seen}.")
    return Found(root, files, readable, unreadable, len(others))


def report(found: Found) -> None:
    """Log the number of images, and name those that cannot be read."""
    passed_over = f"; {found.others} other files are passed over" if found.others else ""
    rank_zero_info(f"{found.root}: {len(found.readable)} images{passed_over}.")
    if found.unreadable:
        lines = "".join(f"\n  {printable_name(file)}: {reason}" for file, reason in found.unreadable.items())
        rank_zero_warn(f"{len(found.unreadable)} images in {found.root} cannot be read and are left out:{lines}")


def fingerprint(files: list[str]) -> str:
    """A hash of a list of files."""
    return hashlib.sha256(os.fsencode("\0".join(files))).hexdigest()
