"""Finds the datasets of a config and checks that their files exist."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmpretrain.datasets import CustomDataset

from imsvd_plugins.openmmlab.data.image_folder import ImageFolder
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.registry import DATASETS


def check_datasets(cfg: Any) -> None:
    """Check that the folders and lists of mmpretrain's image file datasets exist, including those of evaluations."""
    for key, config in datasets_of(cfg):
        found = DATASETS.get(config["type"]) if isinstance(config.get("type"), str) else config.get("type")
        if not (isinstance(found, type) and issubclass(found, CustomDataset)):
            continue  # Other datasets have lists of their own, which some download.
        dataset = DATASETS.build({**config, "pipeline": [], "lazy_init": True})
        if isinstance(dataset, ImageFolder):
            continue  # It has just checked its folder; rank 0 alone reads the content, once.
        if dataset.ann_file and is_missing(dataset.ann_file):
            raise ConfigValueError(f"{key}.ann_file: there is no file {dataset.ann_file}.")
        folder = dataset.img_prefix
        if folder and is_missing(folder):
            raise ConfigValueError(f"{key}: there is no folder {folder}; see data_root, data_prefix and split.")
        if dataset.ann_file or "://" in folder:
            continue
        pattern = "*/**/*" if dataset.with_label else "**/*"
        if not any(dataset.is_valid_file(path.name) for path in Path(folder).expanduser().glob(pattern)):
            kind = "a folder for each class with images" if dataset.with_label else "images"
            raise ConfigValueError(f"{key}: {folder} must hold {kind} ({', '.join(sorted(dataset.extensions))}).")
        count = sum(path.is_dir() for path in Path(folder).expanduser().iterdir())
        if dataset.with_label and dataset.CLASSES is not None and len(dataset.CLASSES) != count:
            raise ConfigValueError(
                f"{key}: {folder} must have a folder for each of the {len(dataset.CLASSES)} classes of "
                f"{found.__name__}, got {count}; for other classes take type='CustomDataset'."
            )


def datasets_of(cfg: Any) -> Iterator[tuple[str, Any]]:
    """The configs of all datasets that a training reads."""
    places = [("", cfg), *((f"custom_hooks.{i}.", hook) for i, hook in enumerate(cfg.get("custom_hooks") or []))]
    for prefix, place in places:
        for name in ("train_dataloader", "val_dataloader", *(["test_dataloader"] if prefix else [])):
            loader = place.get(name) if isinstance(place, dict) or not prefix else None
            key, part = f"{prefix}{name}", loader
            # A wrapper's dataset is a dataset too.
            while isinstance(part, dict) and isinstance(part.get("dataset"), dict):
                key, part = f"{key}.dataset", part["dataset"]
                yield key, part


def is_missing(path: Any) -> bool:
    """Whether there is no such file or folder; False for remote ones, which are not checked."""
    return isinstance(path, str) and "://" not in path and not (path and Path(path).expanduser().exists())
