"""A few images of every dataset that a shipped config names, in the dataset's own layout."""

import pickle
from pathlib import Path
from typing import Any

import mat4py
import numpy as np
from mmpretrain.datasets import categories
from PIL import Image

COUNT = 8
# Images to train on, where shipped configs have a kNN evaluation with k = 20; also if a fifth are the queries.
BANK = 28
# What a recipe for a folder of images wants to be told.
FOLDERS = {"data_root": "data/images", "labelled_root": "data/imagenet100/train"}
_RANDOM = np.random.default_rng(0)


def write(data: Path) -> None:
    """Write all of them.

    Args:
        data: The folder that configs call ``data/``.
    """
    _imagenet(data / "imagenet")
    _images(data / "images", [f"{'nested/' * (number % 3)}{number}.png" for number in range(COUNT)])
    for name in ("imagenet100", "imagenette2-160"):
        for split, count in (("train", BANK), ("val", COUNT)):
            _images(data / name / split, [f"n0{number % 2}/{number}.jpg" for number in range(count)])
    _arrays(data)
    _cifar(
        data / "cifar10" / "cifar-10-batches-py",
        "data_batch_{}",
        {1: 4, 2: 5, 3: 5, 4: 5, 5: 5},
        "test_batch",
        "labels",
    )
    _cifar(data / "cifar100" / "cifar-100-python", "train", {"": BANK}, "test", "fine_labels")
    _flowers(data / "Flowers102")
    _lists(data)
    _dtd(data / "dtd")
    _cars(data / "Stanford_Cars")
    _voc(data / "VOC2007")


def _images(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_RANDOM.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(path)


def _arrays(data: Path) -> None:
    """Thirteen bands in both layouts of NumPy's files, and 16 bits of grey."""
    for name in ("multispectral", "16bit"):
        (data / name).mkdir(parents=True)
    for number in range(BANK):
        bands = _RANDOM.integers(0, 10_000, (13, 40, 48)).astype(np.uint16)
        np.save(data / "multispectral" / f"{number}.npy", bands if number % 2 else np.moveaxis(bands, 0, -1))
        grey = _RANDOM.integers(0, 65_536, (40, 48)).astype(np.uint16)
        Image.fromarray(grey).save(data / "16bit" / f"{number}.png")


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _imagenet(root: Path) -> None:
    names = [f"n0144{number}/n0144{number}_{number}.JPEG" for number in range(COUNT)]
    for split in ("train", "val"):
        _images(root / split, names)
    for name in ("train", "val", "train_1pct", "train_10pct"):
        _write(root / "meta" / f"{name}.txt", [f"{path} {label}" for label, path in enumerate(names)])


def _cifar(folder: Path, train: str, parts: dict[Any, int], test: str, key: str) -> None:
    folder.mkdir(parents=True)
    for name, count in [*((train.format(part), size) for part, size in parts.items()), (test, COUNT)]:
        content = {"data": _RANDOM.integers(0, 256, (count, 3072), dtype=np.uint8), key: list(range(count))}
        (folder / name).write_bytes(pickle.dumps(content))


def _flowers(root: Path) -> None:
    _images(root / "jpg", [f"image_{number:05}.jpg" for number in range(1, 2 * COUNT + 1)])
    mat4py.savemat(str(root / "imagelabels.mat"), {"labels": list(range(1, 2 * COUNT + 1))})
    ids = {"trnid": [1, 2, 3, 4], "valid": [5, 6, 7, 8], "tstid": list(range(COUNT + 1, 2 * COUNT + 1))}
    mat4py.savemat(str(root / "setid.mat"), ids)


def _lists(data: Path) -> None:
    """The datasets whose lists are plain text."""
    food = categories.FOOD101_CATEGORIES[:COUNT]
    _images(data / "food-101" / "images", [f"{kind}/1.jpg" for kind in food])
    _images(data / "Oxford-IIIT_Pets" / "images", [f"cat_{number}.jpg" for number in range(COUNT)])
    aircraft = data / "fgvc-aircraft-2013b" / "data"
    _images(aircraft / "images", [f"{number}.jpg" for number in range(COUNT)])
    caltech = data / "caltech-101"
    _images(caltech / "101_ObjectCategories", [f"kind/{number}.jpg" for number in range(COUNT)])
    sun = [f"/{kind[0]}/{kind}/{number}.jpg" for number, kind in enumerate(("abbey", "airplane_cabin") * 4)]
    _images(data / "SUN397" / "SUN397", [path[1:] for path in sun])
    for split in ("train", "test"):
        _write(data / "food-101" / "meta" / f"{split}.txt", [f"{kind}/1" for kind in food])
        _write(caltech / "meta" / f"{split}.txt", [f"kind/{number}.jpg {number}" for number in range(COUNT)])
    for name in ("Training_01", "Testing_01"):
        _write(data / "SUN397" / "Partitions" / f"{name}.txt", sun)
    for split in ("trainval", "test"):
        pets = [f"cat_{number} {number + 1} 1 1" for number in range(COUNT)]
        _write(data / "Oxford-IIIT_Pets" / "annotations" / f"{split}.txt", pets)
        variants = enumerate(categories.FGVCAIRCRAFT_CATEGORIES[:COUNT])
        _write(aircraft / f"images_variant_{split}.txt", [f"{number} {variant}" for number, variant in variants])


def _dtd(root: Path) -> None:
    names = [f"banded/{number}.jpg" for number in range(2 * COUNT)]
    _images(root / "images", names)
    (root / "imdb").mkdir()
    sets = [1, 2] * (COUNT // 2) + [3] * COUNT
    labels = list(range(1, 2 * COUNT + 1))
    mat4py.savemat(str(root / "imdb" / "imdb.mat"), {"images": {"name": names, "class": labels, "set": sets}})


def _cars(root: Path) -> None:
    names = [f"car_ims/{number}.jpg" for number in range(2 * COUNT)]
    _images(root, names)
    annotations = {
        "relative_im_path": names,
        "class": list(range(1, 2 * COUNT + 1)),
        "test": [0] * COUNT + [1] * COUNT,
    }
    mat4py.savemat(str(root / "cars_annos.mat"), {"annotations": annotations})


def _voc(root: Path) -> None:
    kinds = categories.VOC2007_CATEGORIES
    for split, first in (("trainval", 0), ("test", COUNT)):
        numbers = [f"{number:06}" for number in range(first, first + COUNT)]
        _images(root / "JPEGImages", [f"{number}.jpg" for number in numbers])
        _write(root / "ImageSets" / "Main" / f"{split}.txt", numbers)
        for index, number in enumerate(numbers):
            objects = [(kinds[index], 0), (kinds[index + 1], 0), (kinds[index + 2], 1)]
            xml = "".join(f"<object><name>{k}</name><difficult>{d}</difficult></object>" for k, d in objects)
            _write(root / "Annotations" / f"{number}.xml", [f"<annotation>{xml}</annotation>"])
