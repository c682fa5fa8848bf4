"""Which network a backbone's weights are, and in which libraries it exists. A new family joins ``_FINDERS``."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from imsvd_plugins.export.checkpoint import Backbone
from imsvd_plugins.export.convnext import find_convnext
from imsvd_plugins.export.own import own_network
from imsvd_plugins.export.resnet import find_resnet
from imsvd_plugins.export.swin import find_swin
from imsvd_plugins.export.timm_model import find_timm_model
from imsvd_plugins.export.vit import find_vit


class Network(Protocol):
    """A network that was recognised."""

    @property
    def name(self) -> str:
        """The network's display name."""

    @property
    def note(self) -> str:
        """Facts that the weights do not tell and the user must know."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries that have it, by their names in --format."""

    def weights(self, library: str) -> dict[str, Tensor]:
        """The weights by the library's names."""

    def code(self, library: str, file: str) -> str:
        """The line of code that makes the network in that library and loads the file."""


# Swins come before ViTs and ConvNeXts before ResNets, because their first layers have the same names.
_FINDERS: tuple[Callable[[dict[str, Tensor], dict[str, Any]], Network | None], ...] = (
    find_convnext,
    find_swin,
    find_vit,
    find_resnet,
)


def recognise(backbone: Backbone, library: str) -> Network:
    """Find out which network the weights are.

    Args:
        backbone: The weights, and what is known of their network.
        library: The library that is to load them, one of :data:`~imsvd_plugins.export.FORMATS`.

    Raises:
        ValueError: If it is none of the known families, or the library does not have it.
    """
    if library == "torch":
        return own_network(backbone)
    if library == "timm" and (model := find_timm_model(backbone)):
        return model
    network = next((found for find in _FINDERS if (found := find(backbone.weights, backbone.config))), None)
    if network is None:
        tensors = [f"{name!r} {tuple(tensor.shape)}" for name, tensor in backbone.weights.items()]
        raise ValueError(
            f"the backbone must be a ResNet, a vision transformer, a ConvNeXt or a Swin for --format {library}, got "
            f"{len(tensors)} tensors: {', '.join(tensors[:3])}, ...; --format torch takes any network."
        )
    if library not in network.libraries:
        known = " or ".join(network.libraries)
        raise ValueError(f"{network.name} is exported to {known}, or as it is to torch; got --format {library}.")
    return network
