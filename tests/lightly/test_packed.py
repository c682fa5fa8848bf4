import io
import pickle

import numpy as np
import pytest
from lightly.data import LightlyDataset
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.functional import pil_to_tensor

from imsvd_plugins.lightly.packed import PackedImages

COLOURS = ["red", "lime", "blue"]


def jpeg(colour, mode="RGB"):
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour).convert(mode).save(file, "JPEG")
    return file.getvalue()


def arrays(split, files, labels):
    return {
        f"{split}_jpeg": np.frombuffer(b"".join(files), np.uint8),
        f"{split}_offsets": np.cumsum([0, *map(len, files)]),
        f"{split}_labels": np.array(labels, np.uint8),
    }


def content():
    train = arrays("train", [jpeg(colour) for colour in COLOURS], [0, 1, 2])
    return {**train, **arrays("test", [jpeg("blue"), jpeg("red", mode="L")], [2, 0]), "classes": np.array(COLOURS)}


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "packed.npz"
    np.savez_compressed(path, **content())
    return path


def test_every_image_comes_out_with_its_own_label(packed):
    dataset = PackedImages(packed)
    assert len(dataset) == 3
    assert dataset.classes == COLOURS
    assert dataset.targets == [0, 1, 2]
    for index, (image, label) in enumerate(dataset):
        assert isinstance(image, Image.Image)
        assert (image.size, image.mode, label) == ((8, 6), "RGB", index)
        shown, meant = (np.array(image)[0, 0].astype(int), np.array(Image.new("RGB", (1, 1), COLOURS[index]))[0, 0])
        assert abs(shown - meant).max() <= 2  # JPEG


def test_the_splits_are_apart_and_grey_becomes_rgb(packed):
    test = PackedImages(packed, "test")
    assert test.targets == [2, 0]
    assert test[1][0].mode == "RGB"


def test_indices_are_as_of_a_list(packed):
    dataset = PackedImages(packed)
    assert dataset[-1] == dataset[2]
    with pytest.raises(IndexError):
        dataset[3]
    with pytest.raises(IndexError):
        dataset[-4]


def test_the_file_need_not_stay(packed):
    dataset = PackedImages(packed)
    packed.unlink()
    assert pickle.loads(pickle.dumps(dataset))[1] == dataset[1]


def test_loader_workers_and_lightly_take_it(packed):
    dataset = LightlyDataset.from_torch_dataset(PackedImages(packed), transform=pil_to_tensor)
    loader = DataLoader(dataset, batch_size=3, num_workers=1)
    ((images, labels, _),) = loader
    assert images.shape == (3, 3, 6, 8)
    assert labels.tolist() == [0, 1, 2]
    assert images[:, :, 0, 0].argmax(dim=1).tolist() == [0, 1, 2]


def test_wrong_files_and_splits_are_named(packed, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.npz"):
        PackedImages(tmp_path / "absent.npz")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        PackedImages(tmp_path)
    with pytest.raises(ValueError, match=r"split must be one of test, train .* got 'val'"):
        PackedImages(packed, "val")
    text = tmp_path / "text.npz"
    text.write_text("no archive")
    with pytest.raises(ValueError, match="no NumPy archive"):
        PackedImages(text)


@pytest.mark.parametrize("key", ["train_offsets", "train_labels", "classes"])
def test_a_missing_array_is_named(tmp_path, key):
    np.savez(tmp_path / "lacking.npz", **{name: array for name, array in content().items() if name != key})
    with pytest.raises(ValueError, match=f"lacks {key}"):
        PackedImages(tmp_path / "lacking.npz")


def test_an_archive_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(ValueError, match="lacks train_jpeg, train_offsets, train_labels, classes"):
        PackedImages(tmp_path / "other.npz")


@pytest.mark.parametrize("key", ["train_offsets", "train_labels", "train_jpeg"])
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, key):
    damaged = content()
    damaged[key] = damaged[key][:-1]
    np.savez(tmp_path / "damaged.npz", **damaged)
    with pytest.raises(ValueError, match="is damaged: 'train' has"):
        PackedImages(tmp_path / "damaged.npz")
