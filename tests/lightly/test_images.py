"""A folder of images without labels: which images are trained on, and what an evaluation sees."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightly.data import LightlyDataset
from PIL import Image

from imsvd_plugins.data import image_check
from imsvd_plugins.data.image_files import read_image
from imsvd_plugins.lightly.data import ImagesDataModule
from imsvd_plugins.lightly.data.folder_search import Found
from imsvd_plugins.lightly.data.labelled_images import find_labelled

BROKEN = {"cut.jpg", "empty.PNG", "2023/page.jpg"}


def twice(image):
    return [np.asarray(image), np.asarray(image)]


def opened(root, folder=None, **settings):
    """A data module after its setup, in a training in `folder`."""
    data = ImagesDataModule(str(root), twice, **{"batch_size_per_device": 4, "num_workers": 0, **settings})
    if folder is not None:
        strategy = SimpleNamespace(broadcast=lambda found: found)
        data.trainer = SimpleNamespace(default_root_dir=folder, strategy=strategy, world_size=1, global_rank=0)
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture
def data(photos):
    with pytest.warns(UserWarning, match="cannot be read"):
        return opened(photos)


def test_unreadable_images_are_named_and_left_out(photos):
    with pytest.warns(UserWarning, match="are left out") as caught:
        data = opened(photos)
    (message,) = (str(warning.message) for warning in caught)
    first, *lines = message.splitlines()
    assert first == f"3 images in {photos} cannot be read and are left out:"
    assert {line.strip().partition(": ")[0] for line in lines} == BROKEN
    assert len(data.train_dataset) == 37
    assert not BROKEN.intersection(data.train_dataset.get_filenames())


def test_pixels_are_those_that_embed_reads(photos, data):
    assert isinstance(data.train_dataset, LightlyDataset)
    for index in range(len(data.train_dataset)):
        (view, _), label, name = data.train_dataset[index]
        assert np.array_equal(view, np.asarray(read_image(str(photos / name))))
        assert label == 0


def test_a_second_look_decodes_nothing(photos, tmp_path, monkeypatch):
    with pytest.warns(UserWarning, match="cannot be read"):
        first = opened(photos, tmp_path / "run")
    monkeypatch.setattr(image_check, "_fault", lambda path: pytest.fail(f"{path} was decoded"))
    with pytest.warns(UserWarning, match="cannot be read"):
        again = opened(photos, tmp_path / "run")
    assert (tmp_path / "run" / "images_of_root.json").is_file()
    assert again.train_dataset.get_filenames() == first.train_dataset.get_filenames()
    assert len(opened(photos, check_images=False).train_dataset) == 40


def test_in_the_place_of_an_image_that_broke_later_comes_always_the_same_other_one(photos, data):
    name = data.train_dataset.get_filenames()[5]
    before = {data.train_dataset[index][0][0].tobytes() for index in range(37) if index != 5}
    (photos / name).write_text("no image")
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match=f"{name} cannot be read any more, and another image takes its place: "):
        views = [data.train_dataset[5][0][0].tobytes() for _ in range(2)]
    assert views[0] == views[1]
    assert views[0] in before


def test_a_folder_that_is_gone_ends_in_an_error(photos, data):
    photos.rename(photos.with_name("elsewhere"))
    with pytest.raises(OSError, match=r"cannot be read, and neither can 20 other images of its folder: .*No such file"):
        data.train_dataset[0]


def test_a_resumed_training_goes_on_with_its_images(photos, data):
    """With one less, all later ones would have another place in the order, and other views."""
    state, names = data.state_dict(), data.train_dataset.get_filenames()
    assert set(state["left_out"]) == BROKEN
    (photos / names[5]).write_text("no image")
    Image.new("RGB", (8, 8)).save(photos / "empty.PNG")
    with pytest.warns(UserWarning, match=f"3 images .*(?s:.)*{names[5]}"):
        again = opened(photos)
    assert again.train_dataset.get_filenames() != names
    again.load_state_dict(state)
    assert again.train_dataset.get_filenames() == names
    Image.new("RGB", (8, 8)).save(photos / "new.png")
    with pytest.warns(UserWarning, match="cannot be read"):
        again = opened(photos)
    with pytest.warns(UserWarning, match="does not hold the images of the checkpoint's training any more: it goes on"):
        again.load_state_dict(state)
    assert len(again.train_dataset) == 38


def test_folders_that_cannot_train_are_refused(tmp_path):
    with pytest.raises(ValueError, match="root must be a folder of images; there is no folder 'nowhere'"):
        ImagesDataModule("nowhere", twice)
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "notes.txt").touch()
    for action, message in {
        "nothing": r"root must be a folder of images .* has no image among 1 files\.",
        "broken": r"has 1 images that cannot be read, such as a.png \(cannot identify image file .*\)\.",
        "one": "root must hold at least 2 images that can be read, .* holds 1.",
        "two": r"batch_size_per_device must be at most .*, 2 of 2 on 1 device\(s\), got 4.",
    }.items():
        if action == "broken":
            (folder / "a.png").touch()
        elif action != "nothing":
            Image.new("RGB", (8, 8)).save(folder / {"one": "a.png", "two": "b.png"}[action])
        with pytest.raises(ValueError, match=message):
            opened(folder)


def found(root, *files):
    return Found(root, list(files), list(files), {}, 0)


def labelled(training, validation):
    bank, queries = find_labelled(training, validation)
    return (bank.root, *zip(bank.files, bank.labels, strict=True)), tuple(
        zip(queries.files, queries.labels, strict=True)
    )


def test_training_images_of_the_same_classes_are_the_bank():
    training = found("photos", "a/0.png", "b/deep/1.png", "c/2.png", "top.png")
    assert labelled(training, found("val", "a/3.png", "b/4.png")) == (
        ("photos", ("a/0.png", 0), ("b/deep/1.png", 1)),
        (("a/3.png", 0), ("b/4.png", 1)),
    )


def test_of_the_two_parts_the_first_is_the_bank():
    validation = found("val", "train/a/0.png", "train/b/1.png", "val/b/2.png")
    assert labelled(found("photos", "a/0.png"), validation) == (
        ("val", ("train/a/0.png", 0), ("train/b/1.png", 1)),
        (("val/b/2.png", 1),),
    )


@pytest.mark.parametrize("training", [found("photos", "0.png"), found("val", "a/0.png", "b/0.png")])
def test_else_every_other_image_is(training):
    """Also where both are one folder, whose images would each be their own neighbour."""
    validation = found("val", "a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png", "top.png")
    assert labelled(training, validation) == (
        ("val", ("a/0.png", 0), ("a/2.png", 0), ("b/0.png", 1)),
        (("a/1.png", 0), ("b/1.png", 1)),
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["0.png"], "val_root must hold a folder of images for each class, 'val' holds no folder"),
        (["a/0.png"], "val_root must hold at least 2 images for each class, one of them votes; 'a' has 1"),
        (["train/a/0.png", "val/b/0.png"], "must hold the same classes in train and val; 'b' is in val alone"),
    ],
)
def test_labels_that_cannot_evaluate_are_refused(files, message):
    with pytest.raises(ValueError, match=message):
        find_labelled(found("photos", "0.png"), found("val", *files))


def test_labelled_images_are_there_for_an_evaluation(photos, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "labelled" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (300, 260), (name == "a" and "red") or "blue").save(
                tmp_path / "labelled" / name / f"{index}.png"
            )
    with pytest.warns(UserWarning, match="cannot be read"):
        data = opened(photos, tmp_path / "run", val_root=str(tmp_path / "labelled"))
    ((images, labels, names),) = data.bank_dataloader()
    assert images.shape == (4, 3, 224, 224)
    assert labels.tolist() == [0, 0, 1, 1]
    assert list(names) == [os.path.join(name, f"{index}.png") for name in "ab" for index in (0, 2)]
    assert [labels.tolist() for _, labels, _ in data.val_dataloader()] == [[0, 1]]
    with pytest.warns(UserWarning, match="cannot be read"):
        without = opened(photos)
    assert (without.bank_dataloader(), without.val_dataloader()) == (None, [])
    with pytest.raises(ValueError, match="val_root must be a folder of labelled images to validate on, got None"):
        without.setup("validate")
