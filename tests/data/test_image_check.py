"""Unreadable images are found, and an image is decoded again only if it changed."""

import os

import numpy as np
import pytest
from PIL import Image

from imsvd_plugins.data import image_check
from imsvd_plugins.data.image_check import find_unreadable
from imsvd_plugins.data.image_files import find_image_files


@pytest.fixture
def folder(tmp_path):
    """Images of many kinds, three of them broken, and a file that is none."""
    root = tmp_path / "photos"
    (root / "a" / "b").mkdir(parents=True)
    colours = np.random.default_rng(0).integers(0, 256, (40, 30, 4), np.uint8)
    Image.fromarray(colours[..., :3]).save(root / "rgb.JPG")
    Image.fromarray(colours).save(root / "a" / "rgba.png")
    Image.fromarray(colours[..., 0]).save(root / "a" / "b" / "grey.Tiff")
    Image.fromarray(colours[..., 0].astype(np.uint16) * 257).save(root / "a" / "b" / "deep.png")
    Image.fromarray(colours[..., :3]).convert("CMYK").save(root / "cmyk.jpeg")
    Image.fromarray(colours[..., :3]).convert("P").save(root / "palette.gif")
    Image.fromarray(colours[..., :3]).save(root / "cut.jpg")
    (root / "cut.jpg").write_bytes((root / "cut.jpg").read_bytes()[:600])
    (root / "empty.png").touch()
    (root / "text.bmp").write_text("no image")
    (root / "notes.txt").write_text("no image")
    return root


BROKEN = {"cut.jpg", "empty.png", "text.bmp"}


def test_broken_images_are_found_each_with_a_reason(folder):
    files, others = find_image_files(str(folder))
    assert others == ["notes.txt"]
    assert len(files) == 9
    seen = []
    broken = find_unreadable(folder, files, on_image=seen.append)
    assert set(broken) == BROKEN
    assert all(reason and "\n" not in reason for reason in broken.values())
    assert sum(seen) == len(files)


def test_only_changed_images_are_decoded_again(folder, tmp_path, monkeypatch):
    files, _ = find_image_files(str(folder))
    cache = tmp_path / "work_dir" / "images.json"
    before = find_unreadable(folder, files, cache)
    decoded = []
    fault = image_check._fault
    monkeypatch.setattr(image_check, "_fault", lambda path: decoded.append(os.path.basename(path)) or fault(path))
    assert find_unreadable(folder, files, cache) == before
    assert decoded == []
    Image.new("RGB", (8, 8)).save(folder / "empty.png")
    assert set(find_unreadable(folder, files, cache)) == BROKEN - {"empty.png"}
    assert decoded == ["empty.png"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"root": 3}', "\0"])
def test_a_damaged_or_foreign_cache_is_made_anew(folder, tmp_path, content):
    files, _ = find_image_files(str(folder))
    (tmp_path / "images.json").write_text(content)
    assert set(find_unreadable(folder, files, tmp_path / "images.json")) == BROKEN


def test_a_file_that_vanished_is_unreadable(folder):
    assert set(find_unreadable(folder, ["gone.png"])) == {"gone.png"}


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_name_of_another_encoding(folder, tmp_path):
    name = os.fsdecode(b"\xff.png")
    Image.new("RGB", (8, 8)).save(folder / name)
    cache = tmp_path / "images.json"
    assert find_unreadable(folder, [name], cache) == find_unreadable(folder, [name], cache) == {}
