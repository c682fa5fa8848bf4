"""Building an encoder from a Lightning checkpoint of a module built like Lightly's methods."""

import random
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from lightly.models.modules.heads import ProjectionHead
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import v2 as T

from imsvd_plugins.explain.bare_backbone import VIEWS_ASSUMED, bare_backbone, flattened
from imsvd_plugins.explain.encoder import Encoder, View
from imsvd_plugins.explain.hsic_criterion import hsic_criterion
from imsvd_plugins.explain.standard_views import standard_plain_view, standard_random_view
from imsvd_plugins.export.own import is_small_cnn
from imsvd_plugins.export.parts import load_weights, part_of, state_of
from imsvd_plugins.lightly.array_views import array_format, array_view
from imsvd_plugins.lightly.backbones import SmallCNN
from imsvd_plugins.lightly.components import make
from imsvd_plugins.lightly.data import cifar10_to_tensor, digit_to_tensor, digit_view, folder_to_tensor
from imsvd_plugins.lightly.resume.resumed_settings import KEY
from imsvd_plugins.losses import HSICLoss

# The data modules' default views; a checkpoint names its data module.
_PLAIN_VIEWS: dict[str, View] = {
    "DigitsDataModule": digit_to_tensor,
    "CIFAR10DataModule": cifar10_to_tensor,
    "ImageFolderDataModule": folder_to_tensor,
    "ImagesDataModule": folder_to_tensor,
}
_RESIZING = (T.Resize, T.CenterCrop, transforms.Resize, transforms.CenterCrop)
_HEAD_ASSUMED = "The checkpoint does not tell the projection head's activations: ReLU is assumed."

_RANDOM_VIEW_ASSUMED = (
    "The checkpoint does not tell the training's random views, which only `explain` takes: crops of {size} pixels, "
    "mirrored and in other colours, are assumed (or --config with the training's config)."
)


def load_encoder(
    checkpoint: dict[str, Any], config: str | None = None, backbone: str | None = None, size: int | None = None
) -> Encoder:
    """Build a checkpoint's backbone and projection head, and the views of its training.

    A checkpoint of ``imsvd-plugins lightly`` holds all settings. A checkpoint of a module made in Python holds only
    weights. Their names and shapes identify the backbone, and the head is Lightly's with the same widths.

    Args:
        checkpoint: The result of :func:`~imsvd_plugins.export.checkpoint.read_checkpoint`.
        config: The training's YAML file, which is trusted; None for the settings in the checkpoint. From these only
            networks and transforms of Lightly, torch, torchvision, timm and this package are built.
        backbone: ``timm/NAME`` or ``torchvision/NAME``, for a backbone that neither settings nor weights identify.
        size: Side in pixels to which the plain view resizes and crops; None for the training's own.

    Raises:
        ValueError: If the settings are invalid or name a class that is not allowed, the weights belong to another
            model, or the backbone cannot be identified.
    """
    trusted = config is not None
    model, data = _settings(checkpoint, config)
    state = state_of(checkpoint)
    weights, notes, pixels = part_of(state, "backbone"), [], 224
    if not weights:
        raise ValueError("the checkpoint holds no backbone: no tensor's name begins with 'backbone.'.")
    if backbone is None and model.get("backbone"):
        network = make("model.init_args.backbone", model["backbone"], trusted=trusted)
        load_weights("backbone", network, weights)
    elif backbone is None and is_small_cnn(weights):
        network = SmallCNN()
        load_weights("backbone", network, weights)
    else:
        network, pixels, note = bare_backbone(weights, backbone)
        notes.append(note)
    head = None
    if head_weights := part_of(state, "projection_head"):
        if model.get("projection_head"):
            head = make("model.init_args.projection_head", model["projection_head"], trusted=trusted)
        else:
            head = _head_of(head_weights)
            # Heads of this package's modules have no other activation.
            notes.append("" if KEY in checkpoint else _HEAD_ASSUMED)
        load_weights("projection_head", head, head_weights)
    arrays = array_format(data)
    if arrays is None:
        plain, augment, note = _views(checkpoint, data, trusted, size, pixels)
    else:
        plain = augment = array_view(data, arrays, size, trusted=trusted)
        note = ""
    method, num_bins, temperature = _objective(checkpoint, model)
    return Encoder(
        network,
        None if head is None else nn.Sequential(nn.Flatten(), head),
        flattened,
        method=method,
        num_bins=None if head is None else num_bins,
        temperature=temperature,
        criterion=_hsic_criterion(checkpoint, model, state),
        plain=plain,
        augment=augment,
        arrays=arrays,
        notes=[note for note in (*notes, note) if note],
    )


class LightlyView:
    """A random one of a transform's largest views of an image.

    Args:
        transform: A Lightly transform, from an image to a list of views.
    """

    def __init__(self, transform: Any) -> None:
        # A multi-view transform has one transform for each view; any other makes all its views to give one.
        self._transforms: list[Any] = list(getattr(transform, "transforms", [])) or [transform]
        self._largest: list[Any] | None = None

    def __call__(self, image: Image.Image) -> Tensor:
        """The view ``(C, H, W)``."""
        if self._largest is None:
            sizes = [_one(transform(image)).shape[-2:].numel() for transform in self._transforms]
            self._largest = [
                transform for transform, size in zip(self._transforms, sizes, strict=True) if size == max(sizes)
            ]
        return _one(random.choice(self._largest)(image))


def _one(views: Any) -> Tensor:
    view: Tensor = views[0] if isinstance(views, (list, tuple)) else views
    return view


def _settings(checkpoint: dict[str, Any], config: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of the module and of the data module, each with its class under ``_class_path``."""
    if config is None:
        found = [checkpoint.get(key) for key in ("hyper_parameters", "datamodule_hyper_parameters")]
        model, data = (settings if isinstance(settings, dict) else {} for settings in found)
        return dict(model), dict(data)
    if not Path(config).is_file():
        raise ValueError(f"--config must be the training's YAML file, and there is no file {config!r}.")
    try:
        content = yaml.safe_load(Path(config).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {config} is no YAML file: {' '.join(str(error).split())}") from error
    parts = [content.get(key) if isinstance(content, dict) else None for key in ("model", "data")]
    if not isinstance(parts[0], dict):
        raise ValueError(f"--config {config} must be a YAML file with a model, as `imsvd-plugins lightly` takes it.")
    model, data = (
        {"_class_path": part.get("class_path"), **(part.get("init_args") or {})} if isinstance(part, dict) else {}
        for part in parts
    )
    return model, data


def _objective(checkpoint: dict[str, Any], model: dict[str, Any]) -> tuple[str, int | None, float]:
    """The method's name and, for IMSVD, the number of bins and the temperature."""
    criterion = model.get("criterion")
    kept = checkpoint.get(KEY)
    kept = kept if isinstance(kept, dict) else {}
    bins, temperature, name = kept.get("criterion.num_bins"), kept.get("criterion.temperature", 1.0), "LightningModule"
    if "criterion.kernel" in kept:
        name = "SSLHSIC"
    if isinstance(criterion, dict) and str(criterion.get("class_path")).endswith(".IMSVDLoss"):
        settings = criterion.get("init_args") or {}
        bins, temperature = settings.get("num_bins", 80), settings.get("temperature", 1.0)
    if bins is not None:
        name = "IMSVD"
    if isinstance(path := model.get("_class_path"), str):
        name = path.rpartition(".")[2]
    return name, bins, temperature


def _hsic_criterion(checkpoint: dict[str, Any], model: dict[str, Any], state: dict[str, Tensor]) -> HSICLoss | None:
    """SSL-HSIC's loss; None for other methods."""
    criterion, kept = model.get("criterion"), checkpoint.get(KEY)
    if isinstance(criterion, dict) and str(criterion.get("class_path")).endswith(".HSICLoss"):
        settings = criterion.get("init_args") or {}
    elif isinstance(kept, dict) and "criterion.kernel" in kept:
        settings = {str(name).removeprefix("criterion."): value for name, value in kept.items()}
    else:
        return None
    return hsic_criterion(settings, part_of(state, "criterion"))


def _views(
    checkpoint: dict[str, Any], data: dict[str, Any], trusted: bool, size: int | None, pixels: int
) -> tuple[View, View, str]:
    """The plain view, the random view, and a note on what is assumed about them."""
    kind = str(data.get("_class_path", "")).rpartition(".")[2]
    kind = kind or next((name for name in _PLAIN_VIEWS if name in checkpoint), "")
    note = ""
    if data.get("val_transform"):
        plain = make("data.init_args.val_transform", data["val_transform"], trusted=trusted)
    elif kind in _PLAIN_VIEWS:
        plain = _PLAIN_VIEWS[kind]
    else:
        plain, note = standard_plain_view(size or pixels), VIEWS_ASSUMED.format(size=size or pixels)
    if size is not None:
        steps = plain.transforms if isinstance(plain, (T.Compose, transforms.Compose)) else [plain]
        kept = [step for step in steps if not isinstance(step, _RESIZING)]
        plain = T.Compose([T.Resize(size), T.CenterCrop(size), *kept])
    if data.get("transform"):
        return plain, LightlyView(make("data.init_args.transform", data["transform"], trusted=trusted)), note
    if kind == "DigitsDataModule":
        return plain, digit_view, note
    pixels = size or (32 if kind == "CIFAR10DataModule" else pixels)
    return plain, standard_random_view(pixels), note or _RANDOM_VIEW_ASSUMED.format(size=pixels)


def _head_of(weights: dict[str, Tensor]) -> ProjectionHead:
    """A Lightly head whose layers match these tensors."""
    layers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "layers" or not parts[1].isdecimal():
            raise ValueError(
                f"projection_head.{name} is of no head of Lightly's form: give the training's YAML file by --config."
            )
        layers.setdefault(int(parts[1]), {})[parts[2]] = tensor
    indices = sorted(layers)
    blocks: list[tuple[int, int, nn.Module | None, nn.Module | None, bool]] = []
    for place, index in enumerate(indices):
        if layers[index]["weight"].ndim != 2:
            continue
        width, fan_in = layers[index]["weight"].shape
        has_norm = "running_mean" in layers.get(index + 1, {})
        end = indices[place + 1 + has_norm] if place + 1 + has_norm < len(indices) else max(indices) + 1
        activation = nn.ReLU() if end > index + 1 + has_norm else None
        norm = nn.BatchNorm1d(width) if has_norm else None
        if has_norm and "weight" not in layers[index + 1]:
            norm = nn.BatchNorm1d(width, affine=False)
        blocks.append((fan_in, width, norm, activation, "bias" in layers[index]))
    return ProjectionHead(blocks)
