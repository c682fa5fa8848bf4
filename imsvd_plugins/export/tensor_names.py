"""Tables of the libraries' names for the same tensors."""

from collections.abc import Sequence

from torch import Tensor


def pair(*modules: str) -> list[tuple[str, ...]]:
    """The rows of a layer's weight and bias, from the module's name in each library."""
    return [tuple(f"{module}.{kind}" for module in modules) for kind in ("weight", "bias")]


def renamed(tensors: dict[str, Tensor], old: Sequence[str], new: Sequence[str]) -> dict[str, Tensor]:
    """Rename tensors; ``old`` and ``new`` list all names in the same order."""
    names = dict(zip(old, new, strict=True))
    return {names[name]: tensor for name, tensor in tensors.items()}
