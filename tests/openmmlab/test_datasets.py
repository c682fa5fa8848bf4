import numpy as np
import pytest

from imsvd_plugins.data.digits import load_digits
from imsvd_plugins.openmmlab import Digits


@pytest.mark.parametrize(("split", "size", "count"), [("train", 16, 1438), ("test", 8, 359)])
def test_digits_are_the_embedded_images_with_their_labels(split, size, count):
    dataset = Digits(split=split, size=size)
    images, labels = load_digits(split, size)
    assert len(dataset) == count
    assert dataset.metainfo["classes"] == tuple("0123456789")
    assert np.array_equal(dataset.get_gt_labels(), labels)
    sample = dataset[7]
    assert sample["img"].dtype == np.uint8
    assert np.array_equal(sample["img"], images[7])
    assert sample["gt_label"] == labels[7]


def test_the_pipeline_sees_the_image():
    dataset = Digits(split="test", size=20, pipeline=[{"type": "mmpretrain.PackInputs"}])
    sample = dataset[0]
    assert sample["inputs"].shape == (3, 20, 20)
    assert int(sample["data_samples"].gt_label) == load_digits("test")[1][0]


def test_it_says_what_it_is():
    assert "Split: \ttest" in repr(Digits(split="test"))


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r"split .*'val'"):
        Digits(split="val")
    with pytest.raises(ValueError, match=r"size .*4"):
        Digits(size=4)
