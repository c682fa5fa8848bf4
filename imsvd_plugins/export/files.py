"""Files of exported weights: written by ``torch.save`` or, if the suffix says so, by safetensors."""

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
    """Whether a file's name is that of a safetensors file."""
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
    """Write a file that appears only when it is complete.

    Args:
        content: Contiguous tensors by name that share no memory; anything for ``torch.save``.
        output: The file.

    Raises:
        OSError: If it cannot be written.
        ValueError: If safetensors has no such dtype.
    """
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        part.touch()  # Raise the usual OSError for an unwritable folder; torch.save has its own error.
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
    except RuntimeError as error:  # torch's error for a full disk
        raise OSError(str(error).splitlines()[0]) from error


def _safetensors_bytes(weights: dict[str, Tensor], output: Path) -> bytes:
    """The file's content; safetensors itself would write a file that only its owner may read."""
    # Other programs need the format to know that the tensors are torch's.
    metadata = {"format": "pt"}
    try:
        content: bytes = safetensors_torch().save(weights, metadata=metadata)
    except KeyError as error:
        raise ValueError(f"{output}: safetensors has no dtype {error.args[0]}; give --output FILE.pth.") from error
    return content


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises:
        ImportError: If the package is not installed.
        ValueError: If the file is damaged.
    """
    library = safetensors_torch()
    try:
        tensors: dict[str, Tensor] = library.load_file(path, device="cpu")
    except Exception as error:  # A damaged file may fail in any way, and the error may quote its bytes.
        reason = printable(f"{error}".partition("\n")[0])
        raise ValueError(f"{path} is no whole file of safetensors: {reason or type(error).__name__}") from error
    return tensors
