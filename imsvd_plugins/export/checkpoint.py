"""Reading a checkpoint's backbone without running any code that the file names."""

import ast
import os
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor

from imsvd_plugins._weights_only import reason
from imsvd_plugins.export.files import is_safetensors, read_safetensors

_PREFIX = "backbone."
# The prefixes that DistributedDataParallel and torch.compile add to a model's names.
_WRAPPERS = ("module.", "_orig_mod.")


class Backbone(NamedTuple):
    """The backbone of a checkpoint.

    Attributes:
        weights: Tensors by name, without the leading ``backbone.``.
        config: ``model.backbone`` of the config in an mmengine checkpoint; empty if there is none.
        component: The backbone's ``class_path`` and ``init_args`` in a checkpoint of ``imsvd-plugins lightly``; empty
            if there are none.
        host: The writer of the checkpoint: "mmengine", "Lightning" or, for a state dict alone, "torch.save" or
            "safetensors".
        averaged: Whether the weights are an average that the host kept during training.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    component: dict[str, Any]
    host: str
    averaged: bool


class _Unread:
    """Replaces whatever a checkpoint holds beside tensors and plain data. It accepts any arguments and does nothing."""

    def __init__(self, *args: Any) -> None:
        pass

    def __new__(cls, *args: Any) -> "_Unread":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


def read_backbone(path: str | os.PathLike[str]) -> Backbone:
    """Read the backbone of a checkpoint.

    mmengine's ``EMAHook`` and Lightning's ``WeightAveraging`` store the averaged weights in the place of the model's
    weights, so the averaged weights are read.

    Args:
        path: An mmengine or Lightning checkpoint, or a state dict that ``torch.save`` or safetensors wrote, of a model
            whose backbone is its attribute ``backbone``.

    Raises:
        ImportError: If it is a safetensors file and safetensors is not installed.
        ValueError: If the file does not exist, is not such a checkpoint, or holds no backbone.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    state = checkpoint.get("state_dict", checkpoint)
    names = list(state) if isinstance(state, dict) else []
    weights = {_inner_name(name): value for name, value in state.items() if _is_weight(name, value)} if names else {}
    if not weights:
        # Without the quotes, but with terminal control characters escaped.
        found = ", ".join(sorted({repr(str(name).partition(".")[0])[1:-1] for name in names})[:12])
        raise ValueError(
            f"{path} holds no backbone: none of its {len(names)} entries is a tensor under '{_PREFIX}'; "
            f"their names begin with: {found or 'nothing'}."
        )
    averaged = "ema_state_dict" in checkpoint or "averaging_state" in checkpoint
    settings = checkpoint.get("hyper_parameters")
    component = settings.get("backbone") if isinstance(settings, dict) else None
    model = literal_config(checkpoint.get("meta")).get("model")
    config = model.get("backbone") if isinstance(model, dict) else None
    return Backbone(
        weights,
        config if isinstance(config, dict) else {},
        component if isinstance(component, dict) else {},
        "safetensors" if is_safetensors(path) else host_of(checkpoint),
        averaged,
    )


def host_of(checkpoint: dict[str, Any]) -> str:
    """The writer of a checkpoint: "mmengine", "Lightning" or, for a state dict alone, "torch.save"."""
    if "pytorch-lightning_version" in checkpoint:
        return "Lightning"
    return "mmengine" if "meta" in checkpoint else "torch.save"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint's tensors and plain data; everything else in it becomes an object that does nothing.

    A safetensors file holds only the ``state_dict``.

    Raises:
        ImportError: If it is a safetensors file and safetensors is not installed.
        ValueError: If the file does not exist or is not such a checkpoint.
    """
    checkpoint = _load(path)
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f"{path} must hold a checkpoint or a state dict, got an object that is no dict: "
            "save model.state_dict() rather than the model."
        )
    return checkpoint


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(
            f"CHECKPOINT must be a file, and {str(path)!r} is {'a folder' if path.is_dir() else 'absent'}."
        )
    if is_safetensors(path):
        return {"state_dict": read_safetensors(path)}
    _check_checksums(path)
    try:
        unread: list[Any] = [(_Unread, name) for name in torch.serialization.get_unsafe_globals_in_checkpoint(path)]
        with torch.serialization.safe_globals(unread):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(
            f"{path} holds objects that cannot be read without running code of theirs: save the model's "
            f"state_dict() alone with torch.save. ({reason(error)})"
        ) from error
    except Exception as error:
        # A damaged or malicious file may fail in any way.
        raise ValueError(f"{path} is no whole checkpoint that torch.save wrote: {_lines(error)[0]}") from error


def _check_checksums(path: Path) -> None:
    """Raise if a file's bytes have changed, because torch reads such tensors without an error."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except Exception:  # A damaged list of contents may fail in any way; torch will report the fault.
        return
    if damaged is not None:
        raise ValueError(f"{path} is damaged: {damaged!r} in it has another checksum than when it was written.")


def _lines(error: Exception) -> list[str]:
    return str(error).strip().splitlines() or [type(error).__name__]


def unwrapped(name: str) -> str:
    """A tensor's name without the prefixes of wrapped models."""
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _is_weight(name: Any, value: Any) -> bool:
    if not (isinstance(name, str) and isinstance(value, Tensor) and unwrapped(name).startswith(_PREFIX)):
        return False
    return bool(_inner_name(name)) and value.layout == torch.strided and not value.is_quantized and not value.is_meta


def _inner_name(name: str) -> str:
    return unwrapped(unwrapped(name).removeprefix(_PREFIX))


def literal_config(meta: Any) -> dict[str, Any]:
    """The literal values of the config that mmengine saves as Python text in ``meta``. It is parsed, never run.

    Returns:
        The values by name; empty if there is no config. Values that are not literals are None.
    """
    text = meta.get("cfg") if isinstance(meta, dict) else None
    if not isinstance(text, str):
        return {}
    try:
        statements = [statement for statement in ast.parse(text).body if isinstance(statement, ast.Assign)]
        return {ast.unparse(statement.targets[0]): _literal(statement.value) for statement in statements}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        # Not a config: mmengine writes none of these.
        return {}


def _literal(node: ast.expr) -> Any:
    """The value of a literal, where ``dict(a=1)`` also counts as ``{"a": 1}``; None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        values = [_literal(value) for value in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
