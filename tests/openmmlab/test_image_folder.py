"""A folder of images as a dataset: which of them, with what pixels, and what the config's top level gives."""

import os
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from PIL import Image

from imsvd_plugins.data.image_files import read_image
from imsvd_plugins.openmmlab import ImageFolder, LabelledImageFolder, LoadImage
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.training.folders import with_folders

PHOTOS = runpy.run_path(str(Path(__file__).with_name("photos.py")))
OPTIONS = {"data_root": "photos", "work_dir": "work"}
KINDS = {"ImageFolder": ImageFolder, "LabelledImageFolder": LabelledImageFolder}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("images") / "photos"
    PHOTOS["write"](root)
    return root


@pytest.fixture
def lines(monkeypatch):
    """What is logged as a warning."""
    found = []
    monkeypatch.setattr(MMLogger, "warning", lambda self, message, *args, **_: found.append(message % args))
    return found


def names(dataset):
    return [
        os.path.relpath(dataset.get_data_info(index)["img_path"], dataset.data_root) for index in range(len(dataset))
    ]


def test_every_readable_image_is_there_and_each_broken_one_is_named(photos, lines):
    dataset = ImageFolder(str(photos))
    assert len(dataset) == PHOTOS["COUNT"]
    assert names(dataset) == sorted(names(dataset))
    (line,) = lines
    assert "3 of 41 images cannot be read and are left out" in line
    assert {file for file in PHOTOS["BROKEN"] if f"\n  {file}: " in line} == PHOTOS["BROKEN"]
    assert "gt_label" not in dataset.get_data_info(0)


def test_without_the_check_every_image_file_counts(photos, lines):
    dataset = ImageFolder(str(photos), check_images=False)
    assert PHOTOS["BROKEN"] < set(names(dataset))
    assert lines == []


def test_pixels_are_those_that_embed_reads(photos):
    load = LoadImage()
    for index in range(len(dataset := ImageFolder(str(photos)))):
        path = dataset.get_data_info(index)["img_path"]
        result = load({"img_path": path})
        assert np.array_equal(result["img"][..., ::-1], np.asarray(read_image(path)))
        assert result["img_shape"] == result["ori_shape"] == result["img"].shape[:2]
        assert result["img"].flags.c_contiguous
        assert result["img"].flags.writeable


def test_a_16_bit_image_is_not_white_and_a_turned_one_is_upright(photos):
    load = LoadImage()
    deep, turned = (load({"img_path": str(photos / name)}) for name in ("2019/summer/photo 6.png", "2019/photo 1.Jpeg"))
    with Image.open(photos / "2019/summer/photo 6.png") as image:
        assert np.array_equal(deep["img"][..., 0], np.asarray(image) >> 8)
    assert turned["img_shape"] == (30, 40)


def test_an_image_that_is_there_already_stays():
    given = {"img": np.zeros((2, 3, 3), np.uint8)}
    assert LoadImage()(given) is given


def test_an_unreadable_image_is_replaced_by_the_same_one_in_every_run(photos, lines):
    config = {
        "type": "imsvd_plugins.ImageFolder",
        "data_root": str(photos),
        "check_images": False,
        "pipeline": [
            {"type": "imsvd_plugins.LoadImage"},
            {"type": "mmpretrain.RandomCrop", "crop_size": 8},
            {"type": "mmpretrain.PackInputs"},
        ],
    }
    batches = []
    for num_workers in (0, 2):
        loader = Runner.build_dataloader(
            {
                "batch_size": 7,
                "num_workers": num_workers,
                "dataset": config,
                "sampler": {"type": "DefaultSampler", "shuffle": True},
                "batch_sampler": {"type": "imsvd_plugins.SeededBatchSampler"},
                "collate_fn": {"type": "default_collate"},
            },
            seed=3,
        )
        batches.append(torch.cat([batch["inputs"] for batch in loader]))
    assert torch.equal(*batches)
    assert len(batches[0]) == 41
    # Of the process without workers; each image once.
    assert sorted(line.partition(" cannot be read, and another image takes its place")[0] for line in lines) == sorted(
        str(photos / file) for file in PHOTOS["BROKEN"]
    )


def test_labels_are_sub_folders_and_every_class_has_its_share_in_both_parts(photos):
    train, test = (LabelledImageFolder(str(photos), split=split) for split in ("train", "test"))
    assert not set(names(train)) & set(names(test))
    assert train.CLASSES == test.CLASSES == ("2019", "2020")
    # Two of the four folders are below 2019; the images in none have no label.
    assert len(train) + len(test) == sum("/" in name for name in names(ImageFolder(str(photos))))
    for dataset, share in ((train, 0.8), (test, 0.2)):
        labels = dataset.get_gt_labels()
        assert [dataset.CLASSES[label] for label in labels] == [name.split("/")[0] for name in names(dataset)]
        assert np.bincount(labels) == pytest.approx(share * np.array([19, 9]), abs=1)


def in_folder(name):
    return {"type": f"imsvd_plugins.{name}", "data_root": None}


def test_what_the_config_says_at_its_top_reaches_every_folder_that_says_nothing():
    config = {
        **OPTIONS,
        "check_images": False,
        "train_dataloader": {"dataset": {"type": "RepeatDataset", "dataset": in_folder("ImageFolder")}},
        "val_dataloader": {"dataset": {"type": "imsvd_plugins.ImageFolder", "data_root": "own", "check_images": True}},
        "test_dataloader": {"dataset": {"type": "imsvd_plugins.Digits"}},
        "custom_hooks": [
            {"type": "imsvd_plugins.RepresentationHook"},
            {"type": "imsvd_plugins.KNNEvalHook", "train_dataloader": {"dataset": in_folder("LabelledImageFolder")}},
        ],
    }
    filled = with_folders(config)
    assert filled["train_dataloader"]["dataset"]["dataset"] == {
        "type": "imsvd_plugins.ImageFolder",
        "data_root": "photos",
        "check_images": False,
        "cache_dir": "work/image_check",
    }
    assert filled["val_dataloader"]["dataset"]["data_root"] == "own"
    assert filled["val_dataloader"]["dataset"]["check_images"] is True
    assert filled["test_dataloader"] == config["test_dataloader"]
    assert [hook["type"] for hook in filled["custom_hooks"]] == ["imsvd_plugins.RepresentationHook"]
    assert config["train_dataloader"]["dataset"]["dataset"]["data_root"] is None
    hooks = with_folders({**config, "labelled_root": "labelled"})["custom_hooks"]
    assert hooks[1]["train_dataloader"]["dataset"]["data_root"] == "labelled"


@pytest.mark.parametrize(
    ("kind", "root", "pattern"),
    [
        ("ImageFolder", None, r"data_root must be given, a folder of images: --cfg-options data_root=FOLDER\."),
        ("ImageFolder", 2024, r"data_root must be the name of a folder, got 2024 of type int: write \./2024 .*"),
        ("ImageFolder", "absent", r"data_root must be a folder of images, and '.*absent' does not exist: .*"),
        ("ImageFolder", "notes.txt", r"data_root must be a folder of images, and '.*notes\.txt' is a file: .*"),
        ("ImageFolder", "none", r"data_root must be a folder with images \(\.avif, .*\), and .*none has no file\."),
        ("ImageFolder", "others", r"data_root must be a folder .*, and .*others has none among 1 files \(\.heic\)\."),
        (
            "ImageFolder",
            "broken",
            r"data_root: none of the 1 images in .*broken can be read; a\.png: cannot identify .*",
        ),
        ("LabelledImageFolder", "none", r"labelled_root must be a folder with images .*"),
        ("LabelledImageFolder", "one", r"labelled_root must be .* for each class, two at least; .*one has 1\."),
    ],
)
def test_a_folder_that_does_not_do_is_said_in_one_line(kind, root, pattern, tmp_path):
    for file in ("none/.hidden", "others/a.heic", "broken/a.png", "one/class/a.png", "notes.txt"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    Image.new("RGB", (8, 8)).save(tmp_path / "one/class/a.png")
    with pytest.raises(ConfigValueError) as error:
        KINDS[kind](str(tmp_path / root) if isinstance(root, str) else root)
    line = str(error.value)
    assert line == line.splitlines()[0]
    assert re.fullmatch(pattern, line), line
