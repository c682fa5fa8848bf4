"""Number of channels of a network's images."""

from torch import nn


def input_channels(backbone: nn.Module) -> int | None:
    """Number of channels of a backbone's images, from its first convolution; None if it has none."""
    return next((module.in_channels for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
