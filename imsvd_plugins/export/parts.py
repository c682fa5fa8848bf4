"""The parts of a checkpoint's model, and loading their weights into matching networks."""

from typing import Any

import torch
from torch import Tensor, nn

from imsvd_plugins.export.checkpoint import unwrapped


def state_of(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """All plain tensors of a checkpoint's model by name, without the prefixes of wrapped models.

    Raises:
        ValueError: If there are none.
    """
    state = checkpoint.get("state_dict", checkpoint)
    tensors = {
        unwrapped(name): value
        for name, value in (state.items() if isinstance(state, dict) else ())
        if isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    }
    if not tensors:
        raise ValueError("the checkpoint holds no tensors by name: no state_dict, or one without weights.")
    return tensors


def part_of(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one of the model's attributes, by their names in it; empty if there are none."""
    prefix = f"{name}."
    return {unwrapped(key.removeprefix(prefix)): value for key, value in state.items() if key.startswith(prefix)}


def load_weights(name: str, module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load weights into a module that has exactly the same tensors.

    Args:
        name: The module's name in errors.
        module: The module.
        weights: The tensors by name.

    Raises:
        ValueError: If tensors are missing, unexpected or of another shape: the settings belong to another model.
    """
    own = module.state_dict()
    differing = [
        f"{key} is {_shape(weights, key)} in the checkpoint and {_shape(own, key)} in the settings' {name}"
        for key in sorted(own.keys() | weights.keys())
        if _shape(own, key) != _shape(weights, key)
    ]
    if differing:
        more = f", and {len(differing) - 1} more differ" if differing[1:] else ""
        raise ValueError(f"{name} of the checkpoint is not the one of its settings: {differing[0]}{more}.")
    module.load_state_dict(weights)


def _shape(state: dict[str, Any], key: str) -> str:
    return str(tuple(state[key].shape)) if isinstance(state.get(key), Tensor) else "absent"
