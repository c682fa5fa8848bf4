"""Which checkpoint a run resumes from when the last one was cut off."""

import os
import re
from logging import Logger
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from torch import serialization


def resume_from_whole(work_dir: Path, folder: Path, template: str, logger: Logger) -> None:
    """Make ``last_checkpoint``, which mmengine resumes from, name a checkpoint that can be read.

    A process that is killed while it writes leaves a part of a checkpoint, or a ``last_checkpoint`` that is empty or
    names a file that was deleted to make room. Then the newest whole checkpoint takes its place, and a warning says
    so; if there is none, ``last_checkpoint`` goes and training starts anew.

    Args:
        work_dir: The run's folder, with ``last_checkpoint`` in it.
        folder: Where the checkpoints are.
        template: Their names, with a replacement field for the number: "epoch_{}.pth".
        logger: Gets the warning.
    """
    pointer = work_dir / "last_checkpoint"
    named = pointer.read_text().strip() if pointer.is_file() else None
    if named and ("://" in named or Path(named).is_dir() or is_whole(Path(named))):
        # Neither a remote file nor the folder that deepspeed writes can be judged here.
        return
    if named is None:
        trouble = "there is no last_checkpoint"
    elif not named:
        trouble = "last_checkpoint is empty"
    elif not Path(named).is_file():
        trouble = f"{named}, which last_checkpoint names, does not exist"
    else:
        trouble = f"{named} is not whole: its writing was cut off"
    whole = next((path for path in _newest_first(folder, template) if is_whole(path)), None)
    if whole is not None:
        logger.warning(f"{trouble}. Resuming from {whole}, the last whole checkpoint.")
        # Not in place: a process killed in between would leave an empty file.
        new = pointer.with_name("last_checkpoint.new")
        new.write_text(str(whole))
        os.replace(new, pointer)
    elif named is not None:
        logger.warning(f"{trouble}, and {folder} has no whole checkpoint. Training starts anew.")
        pointer.unlink()


def is_whole(path: Path) -> bool:
    """Whether a file is a complete checkpoint: torch writes a zip archive, whose table of contents comes last."""
    if not path.is_file():
        return False
    try:
        with ZipFile(path) as archive:
            # Old torch always writes checksums.
            checksums = getattr(serialization, "get_crc32_options", lambda: True)()
            return not checksums or archive.testzip() is None
    except BadZipFile:
        return False


def _newest_first(folder: Path, template: str) -> list[Path]:
    # By time, not by number: the folder may hold a longer run's checkpoints from before.
    name = re.sub(r"\\\{[^{}]*\\\}", r"(\\d+)", re.escape(template))
    numbers = {path: match for path in folder.glob("*") if (match := re.fullmatch(name, path.name))}
    return sorted(numbers, key=lambda path: (path.stat().st_mtime_ns, int(numbers[path][1])), reverse=True)
