"""Finding the readable images of a folder: rank 0 checks, and all ranks get its result."""

import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import MMLogger

from imsvd_plugins._terminal import printable
from imsvd_plugins.data.image_check import find_unreadable
from imsvd_plugins.data.image_files import SUFFIXES, find_image_files, printable_name
from imsvd_plugins.data.progress import ImageProgress
from imsvd_plugins.openmmlab.errors import ConfigValueError

# A rank gives up if it waits longer than its process group's timeout, which may be ten minutes.
_SECONDS_BETWEEN_SIGNS = 60.0


def readable_images(folder: str, option: str, *, check: bool = True, cache_dir: str | None = None) -> list[str]:
    """The images of a folder that can be read, the same on all ranks. The log names each unreadable image in a line.

    Every rank must call it. Only rank 0 reads the folder.

    Args:
        folder: The folder.
        option: Name of the option that names the folder, for messages.
        check: Whether each image is decoded once. If not, every file with an image's suffix counts.
        cache_dir: Folder of the file that stores which images have been checked; None to store nothing.

    Returns:
        Names relative to the folder, sorted.

    Raises:
        ConfigValueError: On every rank, if no image can be read.
        RuntimeError: On the other ranks, if rank 0 fails for another reason.
    """
    if not is_main_process():
        return _received()
    shown = time.monotonic()

    def show_life() -> None:
        nonlocal shown
        if time.monotonic() - shown > _SECONDS_BETWEEN_SIGNS:
            shown = time.monotonic()
            _send("wait", None)

    try:
        images = _find(folder, option, check, cache_dir, show_life)
    except Exception as error:
        _send("refused" if isinstance(error, ConfigValueError) else "failed", str(error))
        raise
    _send("found", images)
    return images


def _send(kind: str, content: Any) -> None:
    broadcast_object_list([kind, content])


def _received() -> list[str]:
    message: list[Any] = ["wait", None]
    while message[0] == "wait":
        broadcast_object_list(message)
    kind, content = message
    if kind == "refused":
        raise ConfigValueError(content)
    if kind == "failed":
        raise RuntimeError(f"rank 0 could not check the images: {content}")
    return list(content)


def _find(folder: str, option: str, check: bool, cache_dir: str | None, show_life: Callable[[], None]) -> list[str]:
    logger = MMLogger.get_current_instance()
    try:
        images, others = find_image_files(folder)
    except ValueError as error:
        raise ConfigValueError(f"{option}: {error}") from error
    if not images:
        found = f"none among {len(others)} files ({_suffixes(others)})" if others else "no file"
        known = ", ".join(sorted(SUFFIXES))
        raise ConfigValueError(f"{option} must be a folder with images ({known}), and {folder} has {found}.")
    if others:
        logger.info("%s: files that are no images are left out: %d (%s).", folder, len(others), _suffixes(others))
    if not check:
        return images
    broken = _check(folder, images, cache_dir, show_life)
    if broken:
        lines = "".join(f"\n  {printable(printable_name(file))}: {printable(why)}" for file, why in broken.items())
        if len(broken) == len(images):
            file, why = next(iter(broken.items()))
            raise ConfigValueError(
                f"{option}: none of the {len(images)} images in {folder} can be read; "
                f"{printable(printable_name(file))}: {printable(why)}"
            )
        logger.warning(
            "%s: %d of %d images cannot be read and are left out:%s", folder, len(broken), len(images), lines
        )
    return [file for file in images if file not in broken]


def _check(folder: str, images: list[str], cache_dir: str | None, show_life: Callable[[], None]) -> dict[str, str]:
    cache = None
    if cache_dir is not None:
        # Several image folders may share a work folder.
        cache = Path(cache_dir) / f"{zlib.crc32(os.fsencode(os.path.abspath(folder))):08x}.json"
    with ImageProgress(len(images), "images checked") as progress:

        def on_image(done: int) -> None:
            progress(done)
            show_life()

        try:
            return find_unreadable(folder, images, cache, on_image)
        except OSError as error:
            raise ConfigValueError(f"{cache} cannot be written: {error.strerror or error}.") from error


def _suffixes(files: list[str]) -> str:
    return printable(printable_name(", ".join(sorted({Path(file).suffix.lower() or "no suffix" for file in files}))))
