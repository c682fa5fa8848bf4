"""Any network by its own names, for the class that it is of."""

import re
from typing import NamedTuple

from torch import Tensor

from imsvd_plugins.export.checkpoint import Backbone
from imsvd_plugins.export.settings import arguments

_SMALL_CNN = "imsvd_plugins.lightly.backbones.SmallCNN"
_SMALL_CNN_SHAPES = {"0.weight": (32, 3, 3, 3), "3.weight": (64, 32, 3, 3), "6.weight": (128, 64, 3, 3)}


class OwnNetwork(NamedTuple):
    """A network of some class.

    Attributes:
        constructor: The Python text that makes it, after ``import module;``; empty if the checkpoint does not tell.
        tensors: The weights by its own names.
    """

    constructor: str
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        """What to call it."""
        return self.constructor.partition("(")[0].rpartition(".")[2] or "backbone"

    @property
    def note(self) -> str:
        """What the weights do not tell and the user must know."""
        return "" if self.constructor else "The checkpoint does not tell its class: model is a network of that class."

    @property
    def libraries(self) -> tuple[str, ...]:
        """The format for it."""
        return ("torch",)

    def weights(self, library: str) -> dict[str, Tensor]:
        """The weights as they are."""
        return self.tensors

    def code(self, library: str, file: str) -> str:
        """The line that makes the network, if its class is known, and loads the file."""
        load = f"model.load_state_dict(torch.load({file!r}))"
        if not self.constructor:
            return load
        module = self.constructor.partition("(")[0].rpartition(".")[0]
        return f"import {module}; model = {self.constructor}; {load}"


def own_network(backbone: Backbone) -> OwnNetwork:
    """The backbone as it is; its class comes from the config of a YAML training, and the demo's is known."""
    path, settings = backbone.component.get("class_path"), backbone.component.get("init_args") or {}
    if isinstance(path, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", path) and isinstance(settings, dict):
        try:
            return OwnNetwork(f"{path}({', '.join(arguments(settings))})", backbone.weights)
        except ValueError:
            # A part of it is a component of its own.
            return OwnNetwork("", backbone.weights)
    shapes = {name: tuple(tensor.shape) for name, tensor in backbone.weights.items() if name in _SMALL_CNN_SHAPES}
    return OwnNetwork(f"{_SMALL_CNN}()" if shapes == _SMALL_CNN_SHAPES else "", backbone.weights)
