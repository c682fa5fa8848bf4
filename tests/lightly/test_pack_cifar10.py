"""Anyone packs CIFAR-10 as the benchmarks read it."""

import io

import numpy as np
import pytest
import torchvision
from PIL import Image

from imsvd_plugins.lightly.packed import PackedImages


@pytest.fixture
def pack(benchmarks, cifar10, monkeypatch):
    import pack_cifar10

    root, checksums = cifar10
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(torchvision.datasets.CIFAR10, name, getattr(torchvision.datasets.CIFAR10, name))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "meta", dict(torchvision.datasets.CIFAR10.meta))
    exec(checksums, {"torchvision": torchvision})
    return lambda *words, data=root: pack_cifar10.main(["--data", str(data), *map(str, words)])


def test_the_packed_images_are_the_originals_as_jpeg(pack, cifar10, tmp_path, capsys):
    pack("--output", tmp_path / "packed.npz")
    assert "40 train and 8 test images" in capsys.readouterr().out
    for split in ("train", "test"):
        original = torchvision.datasets.CIFAR10(cifar10[0], split == "train")
        packed = PackedImages(tmp_path / "packed.npz", split)
        assert packed.targets == original.targets
        assert packed.classes == original.classes
        for (image, label), (source, expected) in zip(packed, original, strict=True):
            assert label == expected
            file = io.BytesIO()
            source.save(file, "JPEG", quality=75)
            assert np.array_equal(image, Image.open(file).convert("RGB"))
    assert [file.name for file in tmp_path.iterdir()] == ["packed.npz"]


def test_what_is_wrong_is_said_first(pack, tmp_path, capsys):
    (tmp_path / "there.npz").touch()
    for words, line in {
        ("there.npz",): "there.npz exists: give another name.",
        ("packed.zip",): "--output must end in .npz, got",
        ("nowhere/packed.npz",): "--output must be in an existing folder",
    }.items():
        with pytest.raises(SystemExit):
            pack("--output", tmp_path / words[0])
        assert line in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pack("--output", tmp_path / "packed.npz", data=tmp_path / "empty")
    assert "empty holds no whole CIFAR-10: give torchvision's folder, or --download." in capsys.readouterr().err
