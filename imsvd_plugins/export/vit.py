"""Vision transformers: the same tensors by three libraries' names."""

import math
import re
from typing import Any, NamedTuple

from torch import Tensor

from imsvd_plugins.export.files import load_call
from imsvd_plugins.export.tensor_names import pair, renamed

_LIBRARIES = ("timm", "mmpretrain", "torchvision")


_IN_PROJECTION = "encoder.layers.encoder_layer_{}.self_attention.in_proj_"
# In the order of _LIBRARIES. All three keep query, key and value in one tensor, in this order.
_NAMES = [
    ("cls_token", "cls_token", "class_token"),
    ("pos_embed", "pos_embed", "encoder.pos_embedding"),
    *pair("patch_embed.proj", "patch_embed.projection", "conv_proj"),
    *pair("norm", "ln1", "encoder.ln"),
]
_BLOCK_NAMES = [
    *pair("blocks.{}.norm1", "layers.{}.ln1", "encoder.layers.encoder_layer_{}.ln_1"),
    ("blocks.{}.attn.qkv.weight", "layers.{}.attn.qkv.weight", _IN_PROJECTION + "weight"),
    ("blocks.{}.attn.qkv.bias", "layers.{}.attn.qkv.bias", _IN_PROJECTION + "bias"),
    *pair("blocks.{}.attn.proj", "layers.{}.attn.proj", "encoder.layers.encoder_layer_{}.self_attention.out_proj"),
    *pair("blocks.{}.norm2", "layers.{}.ln2", "encoder.layers.encoder_layer_{}.ln_2"),
    *pair("blocks.{}.mlp.fc1", "layers.{}.ffn.layers.0.0", "encoder.layers.encoder_layer_{}.mlp.0"),
    *pair("blocks.{}.mlp.fc2", "layers.{}.ffn.layers.1", "encoder.layers.encoder_layer_{}.mlp.3"),
]
_PATCHES = ("patch_embed.proj.weight", "patch_embed.projection.weight", "conv_proj.weight")
# mmpretrain architectures whose heads do not have 64 channels.
_HEADS = {"s": 8, "small": 8, "h": 16, "huge": 16, "eva-g": 16, "eva-giant": 16, "mocov3-s": 12, "mocov3-small": 12}
# mmpretrain settings that may change the network but not its names and shapes.
_CHANGING = ("norm_cfg", "patch_cfg", "layer_cfgs")
# timm's models of patch size 16, by width, depth and heads.
_TIMM = {(192, 12, 3): "tiny", (384, 12, 6): "small", (768, 12, 12): "base", (1024, 24, 16): "large"}


class ViT(NamedTuple):
    """A vision transformer with a class token and a final norm, without its classifier.

    Attributes:
        dim: Width of the tokens.
        depth: Number of blocks.
        heads: Attention heads of a block.
        hidden: Width of the blocks' hidden layers.
        patch: Side of a patch, in pixels.
        image: Side of the images, in pixels.
        heads_known: Whether the number of heads comes from a config; the weights do not tell it.
        tensors: The weights by timm's names.
    """

    dim: int
    depth: int
    heads: int
    hidden: int
    patch: int
    image: int
    heads_known: bool
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The network's display name."""
        return f"ViT of {self.depth} blocks, width {self.dim}, {self.heads} heads, patch size {self.patch}"

    @property
    def note(self) -> str:
        """Facts that the weights do not tell and the user must know."""
        if self.heads_known:
            return ""
        return f"The number of heads is not in the weights: {self.heads}, of 64 channels each, are assumed."

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries that have it."""
        return _LIBRARIES

    def weights(self, library: str) -> dict[str, Tensor]:
        """The weights by the library's names."""
        return renamed(self.tensors, _names("timm", self.depth), _names(library, self.depth))

    def code(self, library: str, file: str) -> str:
        """The line of code that makes the network in that library and loads the file."""
        if library == "mmpretrain":
            return (
                f"backbone=dict(type='VisionTransformer', arch=dict(embed_dims={self.dim}, num_layers={self.depth}, "
                f"num_heads={self.heads}, feedforward_channels={self.hidden}), img_size={self.image}, "
                f"patch_size={self.patch}, init_cfg=dict(type='Pretrained', checkpoint={file!r}, prefix='backbone.'))"
            )
        if library == "torchvision":
            return (
                f"model = torchvision.models.VisionTransformer(image_size={self.image}, patch_size={self.patch}, "
                f"num_layers={self.depth}, num_heads={self.heads}, hidden_dim={self.dim}, mlp_dim={self.hidden}); "
                f"model.heads = torch.nn.Identity(); model.load_state_dict({load_call(file)})"
            )
        size = _TIMM.get((self.dim, self.depth, self.heads))
        if size and (self.hidden, self.patch, self.image) == (4 * self.dim, 16, 224):
            return f"model = timm.create_model('vit_{size}_patch16_224', num_classes=0, checkpoint_path={file!r})"
        return (
            f"model = timm.models.VisionTransformer(img_size={self.image}, patch_size={self.patch}, "
            f"embed_dim={self.dim}, depth={self.depth}, num_heads={self.heads}, mlp_ratio={self.hidden / self.dim:g}, "
            f"num_classes=0); model.load_state_dict({load_call(file)})"
        )


def find_vit(weights: dict[str, Tensor], config: dict[str, Any]) -> ViT | None:
    """Recognise a vision transformer by the names of any of the three libraries.

    Args:
        weights: Tensors by name.
        config: The backbone's mmpretrain settings, as far as known.

    Returns:
        The transformer; None if it is another network.

    Raises:
        ValueError: If it is a variant that the libraries do not share.
    """
    source = next((library for library, name in zip(_LIBRARIES, _PATCHES, strict=True) if name in weights), None)
    if source is None:
        return None
    weights = {name: tensor for name, tensor in weights.items() if not re.match(r"heads?\.", name)}
    depth = len({match[0] for name in weights if (match := re.search(r"(?<=\blayers\.|\bblocks\.|_layer_)\d+", name))})
    names = _names(source, depth)
    if differing := sorted(set(names) ^ weights.keys()):
        name = differing[0]
        raise ValueError(
            f"the backbone is no plain vision transformer with a class token and a final norm: {name!r} is "
            f"{'one tensor too many' if name in weights else 'absent'} ({len(differing)} names differ)."
        )
    for key in _CHANGING:
        if config.get(key):
            raise ValueError(
                f"the backbone was trained with model.backbone.{key} = {config[key]!r}, "
                "which this command does not convert; it must be absent."
            )
    tensors = renamed(weights, names, _names("timm", depth))
    if tensors["pos_embed"].ndim != 3:
        raise ValueError(f"the position embedding must be (1, tokens, dim), got {tuple(tensors['pos_embed'].shape)}.")
    _, tokens, dim = tensors["pos_embed"].shape
    patch = tensors["patch_embed.proj.weight"].shape[-1]
    side = math.isqrt(tokens - 1)
    if tensors["patch_embed.proj.weight"].shape[1:] != (3, patch, patch) or side**2 != tokens - 1:
        raise ValueError(
            "the backbone must be a vision transformer for square RGB images and patches, got patches "
            f"{tuple(tensors['patch_embed.proj.weight'].shape[1:])} and {tokens - 1} positions."
        )
    hidden = tensors["blocks.0.mlp.fc1.weight"].shape[0]
    heads = _heads(config, dim)
    return ViT(dim, depth, heads or max(1, dim // 64), hidden, patch, side * patch, heads is not None, tensors)


def _heads(config: dict[str, Any], dim: int) -> int | None:
    arch = config.get("arch", "base") if config else None
    if isinstance(arch, dict):
        heads = arch.get("num_heads")
        return heads if isinstance(heads, int) else None
    return None if arch is None else _HEADS.get(str(arch).lower(), dim // 64)


def _names(library: str, depth: int) -> list[str]:
    """The library's names of all tensors, in the same order for all libraries."""
    column = _LIBRARIES.index(library)
    blocks = [row[column].format(block) for block in range(depth) for row in _BLOCK_NAMES]
    return [row[column] for row in _NAMES] + blocks
