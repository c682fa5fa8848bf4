"""Images of every kind come out as RGB, and what cannot be read is named."""

import io
import os
import pickle
import zlib

import numpy as np
import pytest
from PIL import Image

from imsvd_plugins.data.digits import load_digits
from imsvd_plugins.explain.images import UnreadableImageError, open_images


def save(file, mode="RGB", colour="red", **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (4, 2), colour).save(file, **options)
    return file


def pixel(image):
    assert image.mode == "RGB"
    return np.asarray(image)[0, 0].tolist()


def as_png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


class TestFolders:
    def test_the_sub_folders_are_the_classes(self, tmp_path):
        for name in ("b/deep/3.PNG", "a/1.png", "b/2.Bmp"):
            save(tmp_path / name)
        images = open_images(str(tmp_path))
        assert images.names == ["a/1.png", "b/2.Bmp", "b/deep/3.PNG"]
        assert images.classes == ["a", "b"]
        assert images.labels.tolist() == [0, 1, 1]
        assert images.path(0) == str(tmp_path / "a" / "1.png")

    @pytest.mark.parametrize("names", [("1.png", "2.png"), ("a/1.png", "2.png"), ("a/1.png", "a/b/2.png")])
    def test_a_flat_folder_and_a_single_sub_folder_have_no_classes(self, names, tmp_path):
        for name in names:
            save(tmp_path / name)
        images = open_images(str(tmp_path))
        assert (images.labels, images.classes) == (None, [])
        assert len(images) == 2

    def test_other_files_are_named_and_hidden_ones_are_not_seen(self, tmp_path):
        for name in ("1.png", ".2.png", ".hidden/3.png"):
            save(tmp_path / name)
        (tmp_path / "labels.csv").write_text("1")
        images = open_images(str(tmp_path))
        assert (images.names, images.ignored) == (["1.png"], ["labels.csv"])

    def test_a_link_in_a_circle_is_followed_once(self, tmp_path):
        save(tmp_path / "photos" / "1.png")
        save(tmp_path / "elsewhere" / "2.png")
        (tmp_path / "photos" / "circle").symlink_to(tmp_path / "photos")
        (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
        assert open_images(str(tmp_path / "photos")).names == ["1.png", "link/2.png"]

    @pytest.mark.parametrize("name", ['a "quoted".png', "a\nline.png", "<script>alert('1').png", "ü.png"])
    def test_any_name_is_read(self, name, tmp_path):
        save(tmp_path / "a.png").rename(tmp_path / name)
        images = open_images(str(tmp_path))
        assert pixel(images[images.names.index(name)]) == [255, 0, 0]

    def test_a_name_that_is_no_utf8_is_spelt_out(self, tmp_path):
        save(tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
        images = open_images(str(tmp_path))
        assert images.names == ["\\xff.png"]
        assert pixel(images[0]) == [255, 0, 0]

    def test_a_folder_without_images_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"must hold images, and .* holds nothing"):
            open_images(str(tmp_path))
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(ValueError, match=r"holds 1 other file\(s\) such as 'notes.txt'; images are .*\.jpg"):
            open_images(str(tmp_path))

    @pytest.mark.parametrize(("name", "state"), [("absent", "absent"), ("file.txt", "a file")])
    def test_what_is_neither_folder_nor_packed_file_is_refused(self, name, state, tmp_path):
        (tmp_path / "file.txt").write_text("")
        with pytest.raises(ValueError, match=f"must be a folder, a packed file .* or digits, and .* is {state}"):
            open_images(str(tmp_path / name))


class TestKinds:
    @pytest.mark.parametrize(
        ("mode", "colour", "suffix", "expected"),
        [
            ("L", 100, ".png", [100, 100, 100]),
            ("1", 1, ".png", [255, 255, 255]),
            ("LA", (100, 0), ".png", [100, 100, 100]),
            ("RGBA", (10, 20, 30, 0), ".png", [10, 20, 30]),
            ("P", 0, ".gif", [0, 0, 0]),
            ("CMYK", (0, 255, 255, 0), ".tif", [255, 0, 0]),
            ("I;16", 0x8001, ".png", [0x80] * 3),
            ("I;16", 0x8001, ".tif", [0x80] * 3),
            ("I", 0x0200, ".tif", [2] * 3),
        ],
    )
    def test_becomes_rgb(self, mode, colour, suffix, expected, tmp_path):
        save(tmp_path / f"image{suffix}", mode, colour)
        assert pixel(open_images(str(tmp_path))[0]) == expected

    def test_a_palette_with_transparency(self, tmp_path):
        image = Image.new("P", (4, 2), 1)
        image.putpalette([0, 0, 0, 10, 20, 30])
        image.save(tmp_path / "palette.png", transparency=bytes([255, 0]))
        assert pixel(open_images(str(tmp_path))[0]) == [10, 20, 30]

    def test_floating_point_is_stretched(self, tmp_path):
        Image.fromarray(np.array([[0.0, 0.5], [1.0, 2.0]], np.float32)).save(tmp_path / "float.tif")
        assert np.asarray(open_images(str(tmp_path))[0])[..., 0].tolist() == [[0, 64], [128, 255]]

    def test_exif_turns_it_upright(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        save(tmp_path / "turned.jpg", exif=exif)
        assert open_images(str(tmp_path))[0].size == (2, 4)

    @pytest.mark.parametrize("content", [b"", b"no image", as_png(np.zeros((64, 64), np.uint8))[:60]])
    def test_what_cannot_be_decoded_is_named(self, content, tmp_path):
        (tmp_path / "broken.png").write_bytes(content)
        with pytest.raises(UnreadableImageError, match=r"broken\.png: .") as caught:
            open_images(str(tmp_path))[0]
        # From a loader's process it comes pickled.
        again = pickle.loads(pickle.dumps(caught.value))
        assert (again.name, again.reason) == ("broken.png", caught.value.reason)

    def test_one_of_a_size_that_no_memory_holds_is_unreadable(self, tmp_path):
        content = bytearray(as_png(np.zeros((2, 2), np.uint8)))
        content[16:24] = b"\0\1\0\0\0\1\0\0"  # 65,536 pixels in each direction
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        (tmp_path / "bomb.png").write_bytes(content)
        with pytest.raises(UnreadableImageError, match=r"bomb\.png: .* decompression bomb"):
            open_images(str(tmp_path))[0]


class TestPacked:
    @pytest.fixture
    def packed(self, tmp_path):
        files = []
        for colour in ("red", "blue"):
            file = io.BytesIO()
            Image.new("RGB", (8, 8), colour).save(file, "JPEG")
            files.append(file.getvalue())
        arrays = {"classes": ["blue", "red"]}
        for split, chosen, labels in (("train", files, [1, 0]), ("test", files[:1], [1])):
            arrays[f"{split}_jpeg"] = np.frombuffer(b"".join(chosen), np.uint8)
            arrays[f"{split}_offsets"] = np.cumsum([0, *map(len, chosen)])
            arrays[f"{split}_labels"] = np.array(labels, np.uint8)
        np.savez(tmp_path / "packed.npz", **arrays)
        return str(tmp_path / "packed.npz")

    def test_all_parts_or_one(self, packed):
        images = open_images(packed)
        assert images.names == ["train/0", "train/1", "test/0"]
        assert (images.labels.tolist(), images.labels.dtype, images.classes) == ([1, 0, 1], np.int64, ["blue", "red"])
        assert pixel(images[1])[2] > 250
        assert images.path(1) == f"{packed}/train/1"
        assert open_images(f"{packed}:test").names == ["test/0"]

    def test_wrong_ones_are_refused(self, packed, tmp_path):
        with pytest.raises(ValueError, match="split must be one of test, train"):
            open_images(f"{packed}:val")
        with pytest.raises(ValueError, match="there is no file"):
            open_images(str(tmp_path / "absent.npz"))
        np.savez(tmp_path / "other.npz", weights=np.zeros(3))
        with pytest.raises(ValueError, match="no packed file of images: it has no array"):
            open_images(str(tmp_path / "other.npz"))

    def test_labels_without_a_class_are_refused(self, packed):
        with np.load(packed) as file:
            arrays = {**file, "classes": np.array(["blue"])}
        np.savez(packed, **arrays)
        with pytest.raises(ValueError, match="is damaged: its labels go from 0 to 1, and it names 1 classes"):
            open_images(packed)


def test_the_digits():
    images = open_images("digits")
    assert len(images) == 1797
    scans, labels = load_digits("test")
    test = open_images("digits:test")
    assert np.array_equal(np.asarray(test[7]), scans[7])
    assert np.array_equal(test.labels, labels)
    assert test.classes == [str(digit) for digit in range(10)]
    with pytest.raises(ValueError, match="must be digits, digits:train or digits:test"):
        open_images("digits:val")
