"""Backbones without their classifier, for config files. They are classes because LightningCLI's links need classes."""

from typing import Any

from torch import nn
from torchvision.models import resnet

_STAGES: dict[int, tuple[type[nn.Module], list[int]]] = {
    18: (resnet.BasicBlock, [2, 2, 2, 2]),
    34: (resnet.BasicBlock, [3, 4, 6, 3]),
    50: (resnet.Bottleneck, [3, 4, 6, 3]),
    101: (resnet.Bottleneck, [3, 4, 23, 3]),
    152: (resnet.Bottleneck, [3, 8, 36, 3]),
}


class ResNet(resnet.ResNet):
    """Torchvision's ResNet from images to features ``(N, d)``.

    Args:
        depth: 18 or 34 (512 features), 50, 101 or 152 (2048 features).
        in_channels: Channels of the images.
        small_images: Whether the images are small, such as CIFAR's 32 pixels. Then the first convolution is 3 x 3 with
            stride 1, and there is no max-pooling.
        zero_init_residual: Whether the last normalisation of each residual branch starts at zero.

    Raises:
        ValueError: If ``depth`` is not one of these, or ``in_channels`` is below 1.
    """

    def __init__(
        self, depth: int = 50, *, in_channels: int = 3, small_images: bool = False, zero_init_residual: bool = True
    ) -> None:
        if depth not in _STAGES:
            raise ValueError(f"depth must be one of {', '.join(map(str, _STAGES))}, got {depth!r}.")
        if in_channels < 1:
            raise ValueError(f"in_channels must be at least 1, got {in_channels}.")
        super().__init__(*_STAGES[depth], zero_init_residual=zero_init_residual)
        if small_images or in_channels != 3:
            shape = (3, 1, 1) if small_images else (7, 2, 3)
            self.conv1 = nn.Conv2d(in_channels, 64, *shape, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        if small_images:
            self.maxpool = nn.Identity()
        self.fc = nn.Identity()


class SmallCNN(nn.Sequential):
    """Four convolutions from small images ``(N, 3, H, W)``, such as the digits, to features ``(N, 128)``."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for fan_in, width, stride in ((3, 32, 2), (32, 64, 2), (64, 128, 2), (128, 128, 1)):
            layers += [nn.Conv2d(fan_in, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class TimmBackbone(nn.Module):
    """Any timm model, from images to features ``(N, d)``. The instance is timm's own model, with timm's weight names.

    Args:
        name: As in ``timm.list_models()``: "vit_small_patch16_224", "convnext_tiny", ...
        pretrained: Whether timm loads its pretrained weights.
        in_channels: Channels of the images; timm calls it ``in_chans``, and adapts pretrained weights to it.
        options: Further arguments of ``timm.create_model``, such as ``img_size``.

    Raises:
        ImportError: If timm is not installed.
        RuntimeError: If timm has no such model.
    """

    def __new__(
        cls, name: str, *, pretrained: bool = False, in_channels: int = 3, options: dict[str, Any] | None = None
    ) -> Any:
        """Make timm's model."""
        try:
            import timm  # noqa: PLC0415  (not among Lightly's own requirements)
        except ModuleNotFoundError as error:
            raise ImportError("TimmBackbone needs timm, which is not installed: pip install timm") from error
        # Not every timm model takes the argument.
        channels: dict[str, Any] = {} if in_channels == 3 else {"in_chans": in_channels}
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **channels, **(options or {}))
