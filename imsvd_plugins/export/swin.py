"""Swin transformers: the same tensors by timm's and mmpretrain's names; their patch merging differs in order."""

import math
import re
from typing import Any, NamedTuple

from torch import Tensor

from imsvd_plugins.export.files import load_call
from imsvd_plugins.export.tensor_names import pair, renamed

_STEM = [*pair("patch_embed.proj", "patch_embed.projection"), *pair("patch_embed.norm", "patch_embed.norm")]
_TABLE = "attn.relative_position_bias_table", "attn.w_msa.relative_position_bias_table"
_BLOCK = [
    tuple(f"{stages}.{{}}.blocks.{{}}.{name}" for stages, name in zip(("layers", "stages"), row, strict=True))
    for row in [
        *pair("norm1", "norm1"),
        _TABLE,
        *pair("attn.qkv", "attn.w_msa.qkv"),
        *pair("attn.proj", "attn.w_msa.proj"),
        *pair("norm2", "norm2"),
        *pair("mlp.fc1", "ffn.layers.0.0"),
        *pair("mlp.fc2", "ffn.layers.1"),
    ]
]
# The layer that ends a stage in mmpretrain begins the next stage in timm.
_MERGING = [
    *pair("layers.{1}.downsample.norm", "stages.{0}.downsample.norm"),
    ("layers.{1}.downsample.reduction.weight", "stages.{0}.downsample.reduction.weight"),
]
_FINAL_NORM = pair("norm", "norm3")
_LIBRARIES = ("timm", "mmpretrain")
# mmpretrain settings that change the network but not its names and shapes.
_STANDARD: dict[str, Any] = {
    "pad_small_map": False,
    "out_after_downsample": False,
    "norm_cfg": {"type": "LN"},
    "stage_cfgs": {},
    "patch_cfg": {},
}
_TIMM: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2), (3, 6, 12, 24)): "tiny",
    (96, (2, 2, 18, 2), (3, 6, 12, 24)): "small",
    (128, (2, 2, 18, 2), (4, 8, 16, 32)): "base",
    (192, (2, 2, 18, 2), (6, 12, 24, 48)): "large",
}


class Swin(NamedTuple):
    """A Swin transformer of four stages with a final norm, without its classifier.

    Attributes:
        dim: Width of the first stage, which doubles from stage to stage.
        depths: Blocks of each stage.
        heads: Attention heads of each stage's blocks.
        window: Side of a window, in patches.
        image: Side of the images, in pixels.
        image_known: Whether the image size comes from a config; the weights do not tell it.
        tensors: The weights by timm's names, and in timm's order of a merged patch's positions and channels.
    """

    dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    image: int
    image_known: bool
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The network's display name."""
        blocks = "-".join(map(str, self.depths))
        return f"Swin of {blocks} blocks, width {self.dim}, windows of {self.window}x{self.window}"

    @property
    def note(self) -> str:
        """Facts that the weights do not tell and the user must know."""
        if self.image_known:
            return ""
        return f"The images' size is not in the weights: {self.image} pixels, 32 times the window, are assumed."

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries that have it."""
        return _LIBRARIES

    def weights(self, library: str) -> dict[str, Tensor]:
        """The weights by the library's names, and in its order of a merged patch's positions and channels."""
        if library == "timm":
            return self.tensors
        weights = renamed(self.tensors, _names("timm", self.depths), _names("mmpretrain", self.depths))
        for name, tensor in weights.items():
            if ".downsample." in name:
                columns = tensor.reshape(*tensor.shape[:-1], 2, 2, -1)  # (..., w, h, C)
                weights[name] = columns.transpose(-3, -2).movedim(-1, -3).flatten(-3)
        return weights

    def code(self, library: str, file: str) -> str:
        """The line of code that makes the network in that library and loads the file."""
        if library == "mmpretrain":
            return (
                f"backbone=dict(type='SwinTransformer', arch=dict(embed_dims={self.dim}, depths={list(self.depths)}, "
                f"num_heads={list(self.heads)}), img_size={self.image}, window_size={self.window}, "
                f"init_cfg=dict(type='Pretrained', checkpoint={file!r}, prefix='backbone.'))"
            )
        size = _TIMM.get((self.dim, self.depths, self.heads))
        if size and (self.window, self.image) in ((7, 224), (12, 384)):
            name = f"swin_{size}_patch4_window{self.window}_{self.image}"
            return f"model = timm.create_model({name!r}, num_classes=0, checkpoint_path={file!r})"
        return (
            f"model = timm.models.SwinTransformer(img_size={self.image}, embed_dim={self.dim}, depths={self.depths}, "
            f"num_heads={self.heads}, window_size={self.window}, num_classes=0); "
            f"model.load_state_dict({load_call(file)})"
        )


def find_swin(weights: dict[str, Tensor], config: dict[str, Any]) -> Swin | None:
    """Recognise a Swin transformer by timm's or mmpretrain's names.

    Args:
        weights: Tensors by name.
        config: The backbone's mmpretrain settings, as far as known.

    Returns:
        The transformer; None if it is another network.

    Raises:
        ValueError: If it is a variant that the libraries do not share.
    """
    tables = [name.format(0, 0) for name in _BLOCK[2]]
    source = next((library for library, name in zip(_LIBRARIES, tables, strict=True) if name in weights), None)
    if source is None:
        return None
    # These are not trained; each library creates them itself.
    fixed = re.compile(r"head\.|.*\.(relative_position_index|attn_mask)$")
    weights = {name: tensor for name, tensor in weights.items() if not fixed.match(name)}
    blocks = {
        match.groups() for name in weights if (match := re.match(r"(?:layers|stages)\.(\d+)\.blocks\.(\d+)\.", name))
    }
    depths = tuple(sum(int(stage) == other for stage, _ in blocks) for other in range(4))
    names = _names(source, depths)
    if differing := sorted(set(names) ^ weights.keys()):
        name = differing[0]
        raise ValueError(
            f"the backbone is no plain Swin transformer of four stages with a final norm: {name!r} is "
            f"{'one tensor too many' if name in weights else 'absent'} ({len(differing)} names differ)."
        )
    for key, standard in _STANDARD.items():
        if config.get(key, standard) != standard:
            raise ValueError(
                f"the backbone was trained with model.backbone.{key} = {config[key]!r}; timm's Swin has {standard!r}."
            )
    tensors = renamed(weights, names, _names("timm", depths))
    if source == "mmpretrain":
        for name, tensor in tensors.items():
            if ".downsample." in name:
                columns = tensor.reshape(*tensor.shape[:-1], -1, 2, 2)  # (..., C, h, w)
                tensors[name] = columns.movedim(-3, -1).transpose(-3, -2).flatten(-3)
    dim = len(tensors["patch_embed.proj.bias"])
    shapes = [tuple(tensors[_BLOCK[2][0].format(stage, 0)].shape) for stage in range(4)]
    window = (math.isqrt(shapes[0][0]) + 1) // 2
    found = tuple(tensors["patch_embed.proj.weight"].shape), len(tensors["layers.0.blocks.0.mlp.fc1.bias"])
    if found != ((dim, 3, 4, 4), 4 * dim):
        raise ValueError(
            "the backbone must be a Swin transformer for RGB images, with patches of 4x4 and hidden layers four times "
            f"the width {dim}, got patches {found[0]} and a hidden layer of {found[1]}."
        )
    image = config.get("img_size", 224) if config else None
    if isinstance(image, (list, tuple)) and len(set(image)) == 1:
        image = image[0]
    if config and not isinstance(image, int):
        raise ValueError(f"model.backbone.img_size must be one number, for square images, got {image!r}.")
    heads = tuple(shape[1] for shape in shapes)
    return Swin(dim, depths, heads, window, image or 32 * window, image is not None, tensors)


def _names(library: str, depths: tuple[int, ...]) -> list[str]:
    """The library's names of all tensors, in the same order for both libraries."""
    column = _LIBRARIES.index(library)
    names = [row[column] for row in _STEM]
    for stage, depth in enumerate(depths):
        names += [row[column].format(stage, block) for block in range(depth) for row in _BLOCK]
        names += [row[column].format(stage, stage + 1) for row in _MERGING] if stage < len(depths) - 1 else []
    return names + [row[column] for row in _FINAL_NORM]
