"""Chooses the checkpoint from which a run resumes if the last one was cut off."""

import os
import pickle
import re
from logging import Logger
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from torch import serialization

from imsvd_plugins._weights_only import own_unpickler
from imsvd_plugins.openmmlab.errors import CheckpointError


def resume_from_whole(work_dir: Path, folder: Path, template: str, logger: Logger) -> None:
    """Make ``last_checkpoint``, from which mmengine resumes, name a checkpoint that can be read.

    A process that is killed while it writes leaves a partial checkpoint, or a ``last_checkpoint`` that is empty or
    names a file that was deleted to make room. Then ``last_checkpoint`` gets the newest whole checkpoint, with a
    warning. Training starts from scratch only if there is no checkpoint at all, and the log says so.

    Args:
        work_dir: The run's folder, with ``last_checkpoint`` in it.
        folder: Where the checkpoints are.
        template: Their names, with a replacement field for the number: "epoch_{}.pth".
        logger: Gets the warning.

    Raises:
        CheckpointError: If there are checkpoints, or a ``last_checkpoint``, but none of them is whole.
    """
    pointer = work_dir / "last_checkpoint"
    named = pointer.read_text().strip() if pointer.is_file() else None
    candidates = _newest_first(folder, template)
    if named is None and not candidates:
        logger.info(f"There is no checkpoint in {folder} to resume from: training starts anew.")
        return
    if named and can_be_resumed(named):
        return
    if named is None:
        trouble = f"{work_dir} has no last_checkpoint"
    elif not named:
        trouble = f"{pointer} is empty"
    else:
        trouble = what_is_wrong(named)
    whole = next((path for path in candidates if is_whole(path)), None)
    if whole is None:
        broken = ", ".join(str(path) for path in (pointer, *candidates) if path.exists())
        raise CheckpointError(
            f"cannot resume: {trouble}, and {folder} has no whole checkpoint. Give another one by load_from, or delete "
            f"{broken} to start anew."
        )
    logger.warning(f"{trouble}. Resuming from {whole}, the last whole checkpoint.")
    # Not in place, because a process killed in between would leave an empty file.
    new = pointer.with_name("last_checkpoint.new")
    new.write_text(str(whole))
    os.replace(new, pointer)


def can_be_resumed(name: str) -> bool:
    """Whether a run can resume from a file; True for what cannot be checked here."""
    # A remote file, or the folder that deepspeed writes.
    return "://" in name or Path(name).is_dir() or is_whole(Path(name))


def what_is_wrong(name: str) -> str:
    """The reason why :func:`can_be_resumed` returns False."""
    return f"{name} was cut off while it was written" if Path(name).is_file() else f"{name} does not exist"


def is_whole(path: Path) -> bool:
    """Whether a file is a complete checkpoint, in torch's present format or its older one."""
    if not path.is_file():
        return False
    if is_zipfile(path):
        try:
            with ZipFile(path) as archive:
                # Old torch always writes checksums.
                checksums = getattr(serialization, "get_crc32_options", lambda: True)()
                return not checksums or archive.testzip() is None
        except BadZipFile:
            return False
    try:
        # The older format has no checksums. torch reads the whole file, but builds nothing that it names.
        with own_unpickler():
            torch.load(path, map_location="cpu", weights_only=False, pickle_module=_OutlinePickle)
    except Exception:
        # Depending on where the file ends, torch may raise almost any error.
        return False
    return True


class _OutlinePickle:
    """Stands for the module pickle, but neither imports nor calls what a file asks for."""

    class Unpickler(pickle.Unpickler):
        def __init__(self, file: Any, **_: Any) -> None:
            super().__init__(file)

        def find_class(self, module: str, name: str) -> type:
            return _Anything

    @staticmethod
    def load(file: Any, **_: Any) -> Any:
        return _OutlinePickle.Unpickler(file).load()


class _Anything:
    """Accepts whatever a pickle does with the objects that it makes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def add(self, value: Any) -> None: ...


def _newest_first(folder: Path, template: str) -> list[Path]:
    # By time, not by number, because the folder may hold checkpoints of an earlier, longer run.
    name = re.sub(r"\\\{[^{}]*\\\}", r"(\\d+)", re.escape(template))
    numbers = {path: match for path in folder.glob("*") if (match := re.fullmatch(name, path.name))}
    return sorted(numbers, key=lambda path: (path.stat().st_mtime_ns, int(numbers[path][1])), reverse=True)
