"""ResNets: torchvision, timm and mmpretrain use the same tensor names; Lightly's examples number the modules."""

import re
from typing import Any, NamedTuple

from torch import Tensor

from imsvd_plugins.export.files import load_call

# By depth: the ratio of a block's output width to its 3x3 convolution's, and the number of blocks per stage.
_DEPTHS = {
    18: (1, (2, 2, 2, 2)),
    34: (1, (3, 4, 6, 3)),
    50: (4, (3, 4, 6, 3)),
    101: (4, (3, 4, 23, 3)),
    152: (4, (3, 8, 36, 3)),
}
# mmpretrain settings that change the network but not its names and shapes.
_STANDARD = {"style": "pytorch", "strides": (1, 2, 2, 2), "dilations": (1, 1, 1, 1)}


class ResNetWeights(NamedTuple):
    """A torchvision ResNet without its classifier, perhaps with a 3x3 stem.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        small_stem: Whether the first convolution is 3x3, as for CIFAR; if so, it has stride 1 and no pooling follows.
        tensors: The weights by torchvision's names.
    """

    depth: int
    small_stem: bool
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The network's display name."""
        channels = "" if self.in_channels == 3 else f" of {self.in_channels} channels"
        return f"ResNet-{self.depth}{channels}{' with a 3x3 stem' if self.small_stem else ''}"

    @property
    def in_channels(self) -> int:
        """Number of channels of its images."""
        return self.tensors["conv1.weight"].shape[1]

    @property
    def note(self) -> str:
        """Facts that the weights do not tell and the user must know."""
        if not self.small_stem:
            return ""
        return "A stem's stride and pooling are not in the weights: of a 3x3 one, stride 1 and no pooling are assumed."

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries that have it."""
        return ("torchvision", "timm", "mmpretrain")

    def weights(self, library: str) -> dict[str, Tensor]:
        """The weights by the library's names, which are the same in all."""
        return self.tensors

    def code(self, library: str, file: str) -> str:
        """The line of code that makes the network in that library and loads the file."""
        if library == "mmpretrain":
            kind = "ResNet_CIFAR" if self.small_stem else "ResNet"
            channels = "" if self.in_channels == 3 else f"in_channels={self.in_channels}, "
            return (
                f"backbone=dict(type='{kind}', depth={self.depth}, {channels}"
                f"init_cfg=dict(type='Pretrained', checkpoint={file!r}, prefix='backbone.'))"
            )
        channels = "" if self.in_channels == 3 else f", in_chans={self.in_channels}"
        if library == "timm" and not self.small_stem:
            return f"model = timm.create_model('resnet{self.depth}', num_classes=0{channels}, checkpoint_path={file!r})"
        steps = [f"model = timm.create_model('resnet{self.depth}', num_classes=0{channels})"]
        if library == "torchvision":
            steps = [f"model = torchvision.models.resnet{self.depth}()", "model.fc = torch.nn.Identity()"]
        if self.small_stem:
            steps.append(f"model.conv1 = torch.nn.Conv2d({self.in_channels}, 64, 3, padding=1, bias=False)")
            steps.append("model.maxpool = torch.nn.Identity()")
        elif channels and library == "torchvision":
            steps.append(f"model.conv1 = torch.nn.Conv2d({self.in_channels}, 64, 7, 2, 3, bias=False)")
        return "; ".join([*steps, f"model.load_state_dict({load_call(file)})"])


def find_resnet(weights: dict[str, Tensor], config: dict[str, Any]) -> ResNetWeights | None:
    """Recognise a ResNet.

    Args:
        weights: Tensors by name.
        config: The backbone's mmpretrain settings, as far as known.

    Returns:
        The ResNet; None if it is another network.

    Raises:
        ValueError: If it is a ResNet that torchvision does not have.
    """
    tensors = _by_name(weights)
    if any(re.match(r"stem\.0\.|conv1\.0\.|layer\d+\.0\.downsample\.2\.", name) for name in tensors):
        raise ValueError(
            "the backbone is a ResNet with a deep stem or with pooling before its shortcuts (ResNetV1c, ResNetV1d), "
            "which this command does not convert; a plain ResNet is needed."
        )
    blocks = {
        (int(stage), int(block)) for stage, block in re.findall(r"\blayer(\d+)\.(\d+)\.conv1\.", " ".join(tensors))
    }
    if "conv1.weight" not in tensors or not blocks:
        return None
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    stages = sorted({stage for stage, _ in blocks})
    counts = tuple(sum(stage == other for other, _ in blocks) for stage in stages)
    expansion = 4 if "layer1.0.conv3.weight" in tensors else 1
    depth = next((depth for depth, layout in _DEPTHS.items() if layout == (expansion, counts)), None)
    known = ", ".join(map(str, _DEPTHS))
    if depth is None:
        kind = "bottleneck" if expansion == 4 else "basic"
        raise ValueError(
            f"the backbone is a ResNet of {len(counts)} stages with {counts} {kind} blocks, "
            f"but must be one of depth {known}, which have 4 stages."
        )
    stem = tensors["conv1.weight"].shape
    in_channels, kernel = stem[1] if len(stem) == 4 else 3, stem[-1]
    expected = _shapes(depth, in_channels, kernel)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != expected or kernel not in (3, 7):
        differing = sorted(found.items() ^ expected.items()) or [("conv1.weight", found["conv1.weight"])]
        name = differing[0][0]
        raise ValueError(
            f"the backbone has a ResNet-{depth}'s blocks, but its tensors are not those of torchvision's resnet{depth} "
            f"(a stem of 3x3 is allowed too): {name} is {found.get(name, 'absent')}, "
            f"there it is {expected.get(name, 'absent')}."
        )
    for key, standard in _STANDARD.items():
        setting = config.get(key, standard)
        setting = tuple(setting) if isinstance(setting, list) else setting
        if setting != standard and not (key == "style" and expansion == 1):
            raise ValueError(
                f"the backbone was trained with model.backbone.{key} = {setting!r}; "
                f"a ResNet-{depth} of torchvision or timm has {standard!r}."
            )
    return ResNetWeights(depth, kernel == 3, tensors)


def _by_name(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Restore the names of a ResNet whose children were put into an ``nn.Sequential``, where they are numbers."""
    numbers = sorted({int(name.partition(".")[0]) for name in weights if name[0].isdecimal()})
    if len(numbers) < 3 or f"{numbers[2]}.0.conv1.weight" not in weights:
        return weights
    # The modules without weights between them differ: there may be no pooling.
    new = dict(zip(numbers, ("conv1", "bn1", *(f"layer{stage}" for stage in range(1, len(numbers)))), strict=False))
    renamed = {}
    for name, tensor in weights.items():
        first, _, rest = name.partition(".")
        renamed[f"{new[int(first)]}.{rest}" if first.isdecimal() else name] = tensor
    return renamed


def _shapes(depth: int, in_channels: int, kernel: int) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of torchvision's ResNet except its classifier, by name."""
    expansion, counts = _DEPTHS[depth]
    layers = [("conv1", "bn1", (64, in_channels, kernel))]
    fan_in = 64
    for stage, count in enumerate(counts, start=1):
        width = 32 * 2**stage
        fan_out = width * expansion
        for block in range(count):
            at = f"layer{stage}.{block}."
            basic = [(width, fan_in, 3), (width, width, 3)]
            bottleneck = [(width, fan_in, 1), (width, width, 3), (fan_out, width, 1)]
            convolutions = basic if expansion == 1 else bottleneck
            layers += [(f"{at}conv{n}", f"{at}bn{n}", shape) for n, shape in enumerate(convolutions, start=1)]
            if fan_in != fan_out:
                layers.append((f"{at}downsample.0", f"{at}downsample.1", (fan_out, fan_in, 1)))
            fan_in = fan_out
    shapes: dict[str, tuple[int, ...]] = {}
    for convolution, norm, (out, into, size) in layers:
        shapes[f"{convolution}.weight"] = (out, into, size, size)
        shapes |= {f"{norm}.{name}": (out,) for name in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes
