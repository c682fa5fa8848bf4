"""Any network by its own names, for loading into its own class."""

import re
from typing import Any, NamedTuple

from torch import Tensor

from imsvd_plugins.export.checkpoint import Backbone
from imsvd_plugins.export.files import load_call
from imsvd_plugins.export.settings import arguments

_BACKBONES = "imsvd_plugins.lightly.backbones"
_SMALL_CNN_SHAPES = {"0.weight": (32, 3, 3, 3), "3.weight": (64, 32, 3, 3), "6.weight": (128, 64, 3, 3)}


class OwnNetwork(NamedTuple):
    """A network of some class.

    Attributes:
        constructor: The call that makes it, of a class of this package; empty for any other class.
        class_path: The class in the checkpoint's config, which may name anything; None if there is none.
        tensors: The weights by its own names.
    """

    constructor: str
    class_path: Any
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The network's display name."""
        return self.constructor.partition("(")[0] or "backbone"

    @property
    def note(self) -> str:
        """Facts that the weights do not tell and the user must know."""
        if self.constructor:
            return ""
        known = "does not tell its class" if self.class_path is None else f"says that its class is {self.class_path!r}"
        return f"The checkpoint {known}: model is a network of that class."

    @property
    def libraries(self) -> tuple[str, ...]:
        """The format's name."""
        return ("torch",)

    def weights(self, library: str) -> dict[str, Tensor]:
        """The weights, unchanged."""
        return self.tensors

    def code(self, library: str, file: str) -> str:
        """The line of code that makes the network, if it is one of this package's, and loads the file."""
        load = f"model.load_state_dict({load_call(file)})"
        if not self.constructor:
            return load
        return f"import {_BACKBONES}; model = {_BACKBONES}.{self.constructor}; {load}"


def own_network(backbone: Backbone) -> OwnNetwork:
    """The unchanged backbone. Its class comes from the config of a YAML training; the demo's class is known."""
    path, settings = backbone.component.get("class_path"), backbone.component.get("init_args") or {}
    constructor = "SmallCNN()" if path is None and is_small_cnn(backbone.weights) else ""
    if isinstance(path, str) and re.fullmatch(re.escape(_BACKBONES) + r"\.[A-Za-z]\w*", path):
        # For any other class, the printed line might run code that the file chose.
        constructor = f"{path.rpartition('.')[2]}({', '.join(arguments(dict(settings)))})"
    return OwnNetwork(constructor, path, backbone.weights)


def is_small_cnn(weights: dict[str, Tensor]) -> bool:
    """Whether weights belong to :class:`~imsvd_plugins.lightly.backbones.SmallCNN`, which the demo trains."""
    return {name: tuple(weights[name].shape) for name in _SMALL_CNN_SHAPES if name in weights} == _SMALL_CNN_SHAPES
