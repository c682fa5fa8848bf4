"""The views of a config's pipelines, for images in memory."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from torch import Tensor

from imsvd_plugins.data.array_files import ArrayFormat
from imsvd_plugins.openmmlab.data.arrays import array_results
from imsvd_plugins.openmmlab.encoder.untrusted_config import checked
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.registry import MODELS, NODES

Pipeline = list[dict[str, Any]]

_TRANSFORMS = NODES["TRANSFORMS"]
# The steps that read a file; here the images are already read.
_LOADERS = ("LoadImageFromFile", "LoadImage")
_PACK: Pipeline = [{"type": "PackInputs"}]
# Evaluations resize to this multiple of the crop's size, like ImageNet's 256 pixels for crops of 224.
_RESIZED = 256 / 224


class PipelineView:
    """A view of an image by one of several pipelines, normalised like the model's data preprocessor.

    Args:
        pipelines: Pipelines. One is drawn for each view; pipelines with views smaller than the largest are never drawn.
        weights: Relative frequency of each pipeline.
        preprocessor: Config of the data preprocessor.
    """

    def __init__(self, pipelines: Sequence[Pipeline], weights: Sequence[int], preprocessor: dict[str, Any]) -> None:
        # A loader reads an image's bytes as BGR; a dataset that holds the images itself gives RGB.
        self._bgr = any(_name(step) in _LOADERS for step in pipelines[0])
        self._composed = [
            Compose([_TRANSFORMS.build(step) for step in pipeline if _name(step) not in _LOADERS])
            for pipeline in pipelines
        ]
        self._weights = list(weights)
        self._preprocessor = MODELS.build(preprocessor)
        self._largest: list[int] | None = None

    def __call__(self, image: Any) -> Tensor:
        """The view ``(C, H, W)`` of a Pillow image, or of an array ``(C, H, W)``."""
        if self._largest is None:
            sizes = [self._packed(image, index).shape[-2:].numel() for index in range(len(self._composed))]
            self._largest = [index for index, size in enumerate(sizes) if size == max(sizes)]
        (index,) = random.choices(self._largest, [self._weights[index] for index in self._largest])
        batch = {"inputs": self._packed(image, index).unsqueeze(0), "data_samples": None}
        view: Tensor = self._preprocessor(batch, False)["inputs"][0]
        return view

    def _packed(self, image: Any, index: int) -> Tensor:
        if isinstance(image, np.ndarray):
            return _first(self._composed[index](array_results(image))["inputs"])
        pixels = np.asarray(image)
        # A copy, because pipelines may write into it.
        pixels = np.ascontiguousarray(pixels[..., ::-1]) if self._bgr else pixels.copy()
        shape = pixels.shape[:2]
        return _first(self._composed[index]({"img": pixels, "img_shape": shape, "ori_shape": shape})["inputs"])


def _first(inputs: Tensor | list[Tensor]) -> Tensor:
    return inputs[0] if isinstance(inputs, list) else inputs


def array_format(cfg: dict[str, Any]) -> ArrayFormat | None:
    """The format of a training's arrays; None if its dataset is not ``ArrayFolder``.

    Raises:
        ConfigValueError: If the settings are invalid.
    """
    dataset = (cfg.get("train_dataloader") or {}).get("dataset")
    while isinstance(dataset, dict) and isinstance(dataset.get("dataset"), dict):
        dataset = dataset["dataset"]
    if not isinstance(dataset, dict) or _name(dataset) != "ArrayFolder":
        return None
    form = ArrayFormat(dataset.get("channels", 1), dataset.get("layout"))
    try:
        form.check()
    except (TypeError, ValueError) as error:
        raise ConfigValueError(f"train_dataloader.dataset: {error}") from error
    return form


def plain_view(cfg: dict[str, Any], size: int | None, *, trusted: bool) -> PipelineView:
    """The view for evaluation: the config's own, or else a central crop at the size of the training's crops.

    Args:
        cfg: The config.
        size: Side in pixels instead of the pipeline's; None for the pipeline's.
        trusted: Whether the config may name any type.

    Raises:
        ConfigError: If a transform is invalid or not allowed.
    """
    found = next(_test_pipelines(cfg), None)
    train = _train_pipeline(cfg)
    pipeline = list(found or [])
    if found is None or size is not None:
        side = size or next(_crop_sizes(train), None)
        load = [step for step in found or train if _name(step) in _LOADERS]
        resize: Pipeline = []
        if side is not None:
            short = side if size is not None else round(side * _RESIZED)
            # Pillow's resize takes only images of three channels.
            means = {"backend": "pillow"} if array_format(cfg) is None else {"backend": "cv2", "interpolation": "area"}
            resize = [
                {"type": "ResizeEdge", "scale": short, "edge": "short", **means},
                {"type": "CenterCrop", "crop_size": side},
            ]
        pipeline = [*load, *resize, *_PACK]
    return _view(cfg, [pipeline], [1], trusted)


def random_view(cfg: dict[str, Any], *, trusted: bool) -> PipelineView:
    """The view for training, one of its largest; the plain view if the config has no training.

    Args:
        cfg: The config.
        trusted: Whether the config may name any type.

    Raises:
        ConfigError: If a transform is invalid or not allowed.
    """
    train = _train_pipeline(cfg)
    if not train:
        return plain_view(cfg, None, trusted=trusted)
    place = next((index for index, step in enumerate(train) if _name(step) == "MultiView"), None)
    if place is None:
        return _view(cfg, [train], [1], trusted)
    views = train[place]
    counts = views.get("num_views", 1)
    branches = [[*train[:place], *branch, *train[place + 1 :]] for branch in views["transforms"]]
    return _view(cfg, branches, [counts] if isinstance(counts, int) else counts, trusted)


def _view(cfg: dict[str, Any], pipelines: list[Pipeline], weights: Sequence[int], trusted: bool) -> PipelineView:
    if not trusted:
        pipelines = [checked(_TRANSFORMS, "pipeline", pipeline) for pipeline in pipelines]
    try:
        return PipelineView(pipelines, weights, cfg["data_preprocessor"])
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigValueError(f"the config's pipeline or data_preprocessor cannot be built: {error}") from error


def _name(step: Any) -> str:
    return str(step.get("type") if isinstance(step, dict) else "").rpartition(".")[2]


def _test_pipelines(cfg: dict[str, Any]) -> Iterator[Pipeline]:
    for key in ("test_dataloader", "val_dataloader"):
        if pipeline := _pipeline_of((cfg.get(key) or {}).get("dataset")):
            yield pipeline


def _train_pipeline(cfg: dict[str, Any]) -> Pipeline:
    return _pipeline_of((cfg.get("train_dataloader") or {}).get("dataset")) or []


def _pipeline_of(dataset: Any) -> Pipeline | None:
    """A dataset's pipeline; for a wrapper, the wrapped dataset's."""
    while isinstance(dataset, dict) and "pipeline" not in dataset:
        inner = dataset.get("dataset") or dataset.get("datasets")
        dataset = inner[0] if isinstance(inner, list) and inner else inner
    return dataset["pipeline"] if isinstance(dataset, dict) else None


def _crop_sizes(node: Any) -> Iterator[int]:
    """Sizes of all crops in a pipeline, including those of ``ChannelView``."""
    if isinstance(node, dict):
        for key in ("scale", "size", "crop_size"):
            value = node.get(key)
            if ("Crop" in _name(node) or _name(node) == "ChannelView") and isinstance(value, (int, list, tuple)):
                yield value if isinstance(value, int) else int(value[0])
        for value in node.values():
            yield from _crop_sizes(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _crop_sizes(value)
