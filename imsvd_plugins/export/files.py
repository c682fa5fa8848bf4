"""The files of exported weights: what ``torch.save`` writes or, by their suffix, safetensors."""

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from imsvd_plugins._terminal import printable
from imsvd_plugins.extras import missing_extra

_SUFFIX = ".safetensors"


def is_safetensors(path: Path) -> bool:
    """Whether a file's name says that it is one of safetensors."""
    return path.suffix.lower() == _SUFFIX


def load_call(file: str) -> str:
    """The Python expression that reads an exported file's weights by name."""
    return f"safetensors.torch.load_file({file!r})" if is_safetensors(Path(file)) else f"torch.load({file!r})"


def safetensors_torch() -> ModuleType:
    """The module ``safetensors.torch``.

    Raises:
        ImportError: If the package is not installed.
    """
    try:
        import safetensors.torch  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra(f"a {_SUFFIX} file", "safetensors", "safetensors") from error
    return safetensors.torch


def write_weights(content: dict[str, Any], output: Path) -> None:
    """Write a file that is whole or is not there.

    Args:
        content: Tensors by name, of which no two share memory and each is contiguous; for ``torch.save`` anything.
        output: The file.

    Raises:
        OSError: If it cannot be written.
        ValueError: If safetensors has no such dtype.
    """
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        part.touch()  # torch.save would tell of a folder that takes no file in words of its own.
        if is_safetensors(output):
            part.write_bytes(_safetensors_bytes(content, output))
        else:
            _torch_save(content, part)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _torch_save(content: dict[str, Any], path: Path) -> None:
    try:
        torch.save(content, path)
    except RuntimeError as error:  # as torch calls a full disk
        raise OSError(str(error).splitlines()[0]) from error


def _safetensors_bytes(weights: dict[str, Tensor], output: Path) -> bytes:
    """The content of the file; safetensors would write one that only its owner may read."""
    # Without the format other programs would not know whose tensors they are.
    metadata = {"format": "pt"}
    try:
        content: bytes = safetensors_torch().save(weights, metadata=metadata)
    except KeyError as error:
        raise ValueError(f"{output}: safetensors has no dtype {error.args[0]}; give --output FILE.pth.") from error
    return content


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of safetensors by name, on the CPU.

    Raises:
        ImportError: If the package is not installed.
        ValueError: If the file is damaged.
    """
    library = safetensors_torch()
    try:
        tensors: dict[str, Tensor] = library.load_file(path, device="cpu")
    except Exception as error:  # A damaged file may fail in any way, and the library's message may quote it.
        reason = printable(f"{error}".partition("\n")[0])
        raise ValueError(f"{path} is no whole file of safetensors: {reason or type(error).__name__}") from error
    return tensors
