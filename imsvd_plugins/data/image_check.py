"""Finds a folder's unreadable images before a training begins instead of in its tenth hour."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from imsvd_plugins.data.image_files import printable_name, read_image

_BATCH = 4096  # images between two writes of the cache
_DRAFT = (64, 64)  # pixels; libjpeg then decodes an eighth of each side, but still reads the whole file

_Known = dict[str, tuple[list[int], str | None]]  # from a file to its size and time, and its fault


def find_unreadable(
    root: str | Path,
    files: list[str],
    cache: str | Path | None = None,
    on_image: Callable[[int], None] = lambda checked: None,
    fault: Callable[[str], str | None] | None = None,
) -> dict[str, str]:
    """Decode every image once.

    Args:
        root: A folder.
        files: Images in the folder, relative to it.
        cache: A JSON file of earlier results, so that only new and changed images are decoded. It is written every few
            thousand images and at the end; None for no cache.
        on_image: Called with the number of images that were checked since its last call.
        fault: For files that are not images: returns why the file of a path cannot be read, or None if it can. Threads
            call it.

    Returns:
        The images that cannot be read, each with the reason in one line.

    Raises:
        OSError: If the cache cannot be written.
    """
    fault = fault or _fault
    known = _read_cache(cache, root)
    stamps = {file: _stamp(os.path.join(root, file)) for file in files}
    found = {file: known[file][1] for file in files if file in known and known[file][0] == stamps[file]}
    on_image(len(found))
    pending = [file for file in files if file not in found]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without Python's lock.
        for begin in range(0, len(pending), _BATCH):
            part = pending[begin : begin + _BATCH]
            for file, reason in zip(part, pool.map(lambda file: fault(os.path.join(root, file)), part), strict=True):
                found[file] = reason
                on_image(1)
            _write_cache(cache, root, {**known, **{file: (stamps[file], reason) for file, reason in found.items()}})
    return {file: reason for file in files if (reason := found[file]) is not None}


def _stamp(path: str) -> list[int]:
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _fault(path: str) -> str | None:
    """Why an image cannot be read; None if it can."""
    try:
        with Image.open(path) as image:
            if image.format == "JPEG":
                image.draft(None, _DRAFT)
                image.load()
                return None
        read_image(path)
    except Exception as error:  # A damaged file can make a decoder raise anything.
        return printable_name(" ".join((str(error) or type(error).__name__).split()))
    return None


def _read_cache(cache: str | Path | None, root: str | Path) -> _Known:
    try:
        content = json.loads(Path(cache or os.devnull).read_text(encoding="utf-8") or "{}")
        if content.get("root") != os.path.abspath(root):
            return {}
        return {os.fsdecode(bytes.fromhex(file)): (stamp, reason) for file, stamp, reason in content["images"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}  # It is written again.


def _write_cache(cache: str | Path | None, root: str | Path, known: _Known) -> None:
    if cache is None:
        return
    # A name may hold bytes of any encoding, which JSON cannot.
    images = [(os.fsencode(file).hex(), stamp, reason) for file, (stamp, reason) in known.items()]
    cache = Path(cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    part = cache.with_name(f".{cache.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps({"root": os.path.abspath(root), "images": images}), encoding="utf-8")
        part.replace(cache)
    finally:
        part.unlink(missing_ok=True)
