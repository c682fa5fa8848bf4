"""ConvNeXts: the same tensors by timm's and mmpretrain's names."""

import re
from typing import Any, NamedTuple

from torch import Tensor

from imsvd_plugins.export.files import load_call
from imsvd_plugins.export.tensor_names import pair, renamed

_STEM = [*pair("stem.0", "downsample_layers.0.0"), *pair("stem.1", "downsample_layers.0.1")]
_DOWNSAMPLING = [
    *pair("stages.{}.downsample.0", "downsample_layers.{}.0"),
    *pair("stages.{}.downsample.1", "downsample_layers.{}.1"),
]
_BLOCK = [
    ("stages.{}.blocks.{}.gamma", "stages.{}.{}.gamma"),
    *pair("stages.{}.blocks.{}.conv_dw", "stages.{}.{}.depthwise_conv"),
    *pair("stages.{}.blocks.{}.norm", "stages.{}.{}.norm"),
    *pair("stages.{}.blocks.{}.mlp.fc1", "stages.{}.{}.pointwise_conv1"),
    *pair("stages.{}.blocks.{}.mlp.fc2", "stages.{}.{}.pointwise_conv2"),
]
_FINAL_NORM = pair("head.norm", "norm3")
_LIBRARIES = ("timm", "mmpretrain")
# mmpretrain settings that change the network but not its names and shapes.
_STANDARD = {"gap_before_final_norm": True, "act_cfg": {"type": "GELU"}, "norm_cfg": {"type": "LN2d", "eps": 1e-6}}
# timm's models by the number of blocks per stage and the first stage's width, which doubles from stage to stage.
_TIMM: dict[tuple[tuple[int, ...], int], str] = {
    ((3, 3, 9, 3), 96): "tiny",
    ((3, 3, 27, 3), 96): "small",
    ((3, 3, 27, 3), 128): "base",
    ((3, 3, 27, 3), 192): "large",
    ((3, 3, 27, 3), 256): "xlarge",
}


class ConvNeXt(NamedTuple):
    """A ConvNeXt of four stages with layer scale, pooled and then normalised, without its classifier.

    Attributes:
        depths: Blocks of each stage.
        widths: Channels of each stage.
        tensors: The weights by timm's names.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The network's display name."""
        return f"ConvNeXt of {'-'.join(map(str, self.depths))} blocks, widths {'-'.join(map(str, self.widths))}"

    @property
    def note(self) -> str:
        """Empty: the weights determine the network."""
        return ""

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries that have it."""
        return _LIBRARIES

    def weights(self, library: str) -> dict[str, Tensor]:
        """The weights by the library's names."""
        return renamed(self.tensors, _names("timm", self.depths), _names(library, self.depths))

    def code(self, library: str, file: str) -> str:
        """The line of code that makes the network in that library and loads the file."""
        if library == "mmpretrain":
            return (
                f"backbone=dict(type='ConvNeXt', arch=dict(depths={list(self.depths)}, channels={list(self.widths)}), "
                f"init_cfg=dict(type='Pretrained', checkpoint={file!r}, prefix='backbone.'))"
            )
        doubling = tuple(self.widths[0] * 2**stage for stage in range(4)) == self.widths
        size = _TIMM.get((self.depths, self.widths[0])) if doubling else None
        if size:
            return f"model = timm.create_model('convnext_{size}', num_classes=0, checkpoint_path={file!r})"
        return (
            f"model = timm.models.ConvNeXt(depths={self.depths}, dims={self.widths}, num_classes=0); "
            f"model.load_state_dict({load_call(file)})"
        )


def find_convnext(weights: dict[str, Tensor], config: dict[str, Any]) -> ConvNeXt | None:
    """Recognise a ConvNeXt by timm's or mmpretrain's names.

    Args:
        weights: Tensors by name.
        config: The backbone's mmpretrain settings, as far as known.

    Returns:
        The ConvNeXt; None if it is another network.

    Raises:
        ValueError: If it is a variant that the libraries do not share.
    """
    kernels = ("stages.0.blocks.0.conv_dw.weight", "stages.0.0.depthwise_conv.weight")
    source = next((library for library, name in zip(_LIBRARIES, kernels, strict=True) if name in weights), None)
    if source is None:
        return None
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith("head.fc.")}
    blocks = {match.groups() for name in weights if (match := re.match(r"stages\.(\d+)\.(?:blocks\.)?(\d+)\.", name))}
    depths = tuple(sum(int(stage) == other for stage, _ in blocks) for other in range(4))
    names = _names(source, depths)
    if differing := sorted(set(names) ^ weights.keys()):
        name = differing[0]
        raise ValueError(
            f"the backbone is no plain ConvNeXt of four stages with layer scale and a final norm: {name!r} is "
            f"{'one tensor too many' if name in weights else 'absent'} ({len(differing)} names differ)."
        )
    for key, standard in _STANDARD.items():
        if config.get(key, standard) != standard:
            raise ValueError(
                f"the backbone was trained with model.backbone.{key} = {config[key]!r}; "
                f"timm's ConvNeXt has {standard!r}."
            )
    tensors = renamed(weights, names, _names("timm", depths))
    widths = tuple(len(tensors[f"stages.{stage}.blocks.0.conv_dw.bias"]) for stage in range(4))
    found = tuple(tensors["stem.0.weight"].shape), tuple(tensors["stages.0.blocks.0.mlp.fc1.weight"].shape)
    if found != ((widths[0], 3, 4, 4), (4 * widths[0], widths[0])):
        raise ValueError(
            "the backbone must be a ConvNeXt for RGB images with patches of 4x4 and linear layers in its blocks, got a "
            f"stem of {found[0]} and a first layer of {found[1]}."
        )
    return ConvNeXt(depths, widths, tensors)


def _names(library: str, depths: tuple[int, ...]) -> list[str]:
    """The library's names of all tensors, in the same order for both libraries."""
    column = _LIBRARIES.index(library)
    names = [row[column] for row in _STEM]
    for stage, depth in enumerate(depths):
        names += [row[column].format(stage) for row in _DOWNSAMPLING] if stage else []
        names += [row[column].format(stage, block) for block in range(depth) for row in _BLOCK]
    return names + [row[column] for row in _FINAL_NORM]
