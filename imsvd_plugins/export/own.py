"""Any network by its own names, for the class that it is of."""

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
        constructor: What makes it, a call of a class of this package's; empty for any other class.
        class_path: The class by the checkpoint's config, which may name anything; None if there is none.
        tensors: The weights by its own names.
    """

    constructor: str
    class_path: Any
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        """What to call it."""
        return self.constructor.partition("(")[0] or "backbone"

    @property
    def note(self) -> str:
        """What the weights do not tell and the user must know."""
        if self.constructor:
            return ""
        known = "does not tell its class" if self.class_path is None else f"says that its class is {self.class_path!r}"
        return f"The checkpoint {known}: model is a network of that class."

    @property
    def libraries(self) -> tuple[str, ...]:
        """The format for it."""
        return ("torch",)

    def weights(self, library: str) -> dict[str, Tensor]:
        """The weights as they are."""
        return self.tensors

    def code(self, library: str, file: str) -> str:
        """The line that makes the network, if it is one of this package's, and loads the file."""
        load = f"model.load_state_dict({load_call(file)})"
        if not self.constructor:
            return load
        return f"import {_BACKBONES}; model = {_BACKBONES}.{self.constructor}; {load}"


def own_network(backbone: Backbone) -> OwnNetwork:
    """The backbone as it is; its class comes from the config of a YAML training, and the demo's is known."""
    path, settings = backbone.component.get("class_path"), backbone.component.get("init_args") or {}
    constructor = "SmallCNN()" if path is None and is_small_cnn(backbone.weights) else ""
    if isinstance(path, str) and re.fullmatch(re.escape(_BACKBONES) + r"\.[A-Za-z]\w*", path):
        # Of any other class the printed line might run what the file wants.
        constructor = f"{path.rpartition('.')[2]}({', '.join(arguments(dict(settings)))})"
    return OwnNetwork(constructor, path, backbone.weights)


def is_small_cnn(weights: dict[str, Tensor]) -> bool:
    """Whether weights are those of :class:`~imsvd_plugins.lightly.backbones.SmallCNN`, which the demo trains."""
    return {name: tuple(weights[name].shape) for name in _SMALL_CNN_SHAPES if name in weights} == _SMALL_CNN_SHAPES
