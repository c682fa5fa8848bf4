"""Backbones from files that hold only weights: exported ones, and those of modules made in Python."""

from typing import NamedTuple

from torch import Tensor, nn

from imsvd_plugins.explain.encoder import Encoder
from imsvd_plugins.explain.standard_views import standard_plain_view, standard_random_view
from imsvd_plugins.export.parts import load_weights, part_of
from imsvd_plugins.export.resnet import find_resnet
from imsvd_plugins.export.vit import find_vit
from imsvd_plugins.extras import MissingExtraError

_CLASSIFIERS = ("fc", "heads", "head", "classifier")  # of torchvision's models
VIEWS_ASSUMED = (
    "The checkpoint does not tell how images were prepared: crops of {size} pixels and ImageNet's normalisation are "
    "assumed (--size, or --config with the training's config)."
)


class BareBackbone(NamedTuple):
    """A network with its weights.

    Attributes:
        module: From images to features ``(N, d)``.
        size: Side of its images in pixels.
        note: Assumptions about what the weights do not tell; may be empty.
    """

    module: nn.Module
    size: int
    note: str


def bare_backbone(weights: dict[str, Tensor], name: str | None = None) -> BareBackbone:
    """Build the network that weights belong to.

    Args:
        weights: Tensors by name.
        name: ``timm/NAME`` or ``torchvision/NAME``, a model of that library without its classifier. None to identify
            it by the weights: a torchvision ResNet, perhaps with a 3x3 stem, or a vision transformer.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If there is no such model, the weights are another model's, or they do not identify a model.
    """
    if name is not None:
        module = _of_library(name)
        weights = {key: tensor for key, tensor in weights.items() if key.partition(".")[0] not in _CLASSIFIERS}
        load_weights(f"--backbone {name}", module, weights)
        return BareBackbone(module, _size_of(module), "")
    import torchvision  # noqa: PLC0415

    if vit := find_vit(weights, {}):
        module = torchvision.models.VisionTransformer(vit.image, vit.patch, vit.depth, vit.heads, vit.dim, vit.hidden)
        module.heads = nn.Identity()
        load_weights("the vision transformer", module, vit.weights("torchvision"))
        return BareBackbone(module, vit.image, vit.note)
    if resnet := find_resnet(weights, {}):
        module = torchvision.models.get_model(f"resnet{resnet.depth}", weights=None)
        module.fc = nn.Identity()
        shape = (3, 1, 1) if resnet.small_stem else (7, 2, 3)
        module.conv1 = nn.Conv2d(resnet.in_channels, 64, *shape, bias=False)
        if resnet.small_stem:
            module.maxpool = nn.Identity()
        load_weights("the ResNet", module, resnet.tensors)
        return BareBackbone(module, 32 if resnet.small_stem else 224, resnet.note)
    raise ValueError(
        f"the weights do not tell what network they are of: {len(weights)} tensors, the first {next(iter(weights))!r}. "
        "Give --backbone timm/NAME or torchvision/NAME, or --config with the training's config."
    )


def load_encoder(state: dict[str, Tensor], name: str | None = None, size: int | None = None) -> Encoder:
    """An encoder without projections, from the weights of a model or of its backbone.

    Args:
        state: Tensors by name.
        name: As for :func:`bare_backbone`.
        size: Side of the images in pixels; None for the size that the network was made for.

    Raises:
        ImportError: If the library is not installed.
        ValueError: If there is no such model, the weights are another model's, or they do not identify a model.
    """
    backbone = bare_backbone(part_of(state, "backbone") or state, name)
    size = size or backbone.size
    return Encoder(
        backbone.module,
        None,
        flattened,
        method="backbone",
        num_bins=None,
        temperature=1.0,
        plain=standard_plain_view(size),
        augment=standard_random_view(size),
        notes=[note for note in (backbone.note, VIEWS_ASSUMED.format(size=size)) if note],
    )


def flattened(output: Tensor) -> Tensor:
    """Features ``(N, d)`` of a backbone that gives ``(N, d)`` or ``(N, d, 1, 1)``."""
    return output.flatten(start_dim=1)


def _of_library(name: str) -> nn.Module:
    library, _, model = name.partition("/")
    if library == "timm":
        try:
            import timm  # noqa: PLC0415
        except ModuleNotFoundError as error:
            message = "--backbone timm/NAME needs timm: pip install timm"
            raise MissingExtraError(message, name="timm") from error
        if not timm.is_model(model):
            raise ValueError(f"--backbone {name}: timm has no model {model!r}.")
        network: nn.Module = timm.create_model(model, num_classes=0)
        return network
    if library == "torchvision":
        import torchvision  # noqa: PLC0415

        if model not in torchvision.models.list_models(torchvision.models):
            raise ValueError(f"--backbone {name}: torchvision has no model of images {model!r}.")
        network = torchvision.models.get_model(model, weights=None)
        for attribute in _CLASSIFIERS:
            if hasattr(network, attribute):
                setattr(network, attribute, nn.Identity())
        return network
    raise ValueError(f"--backbone must be timm/NAME or torchvision/NAME, got {name!r}.")


def _size_of(module: nn.Module) -> int:
    """The image size that a timm or torchvision model was made for."""
    size = getattr(module, "image_size", None) or getattr(module, "pretrained_cfg", {}).get("input_size", (3, 224))[-1]
    return int(size)
