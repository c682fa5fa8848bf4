"""Tables of the names that libraries give to the same tensors."""

from collections.abc import Sequence

from torch import Tensor


def pair(*modules: str) -> list[tuple[str, ...]]:
    """The rows of a layer's weight and bias; a module's name in each library."""
    return [tuple(f"{module}.{kind}" for module in modules) for kind in ("weight", "bias")]


def renamed(tensors: dict[str, Tensor], old: Sequence[str], new: Sequence[str]) -> dict[str, Tensor]:
    """Tensors by other names; ``old`` and ``new`` are all names in one order."""
    names = dict(zip(old, new, strict=True))
    return {names[name]: tensor for name, tensor in tensors.items()}
