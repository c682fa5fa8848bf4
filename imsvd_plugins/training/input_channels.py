"""How many channels a network's images have."""

from torch import nn


def input_channels(backbone: nn.Module) -> int | None:
    """The channels of a backbone's images, by its first convolution; None without one."""
    return next((module.in_channels for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
