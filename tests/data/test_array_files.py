"""Arrays come out of files as they went in; what is wrong is named with its file."""

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image

from imsvd_plugins.data.array_check import channel_statistics, check_arrays
from imsvd_plugins.data.array_files import ArrayFormat, find_array_files, read_array

DTYPES = ["uint8", "uint16", "int16", "float32"]
rng = np.random.default_rng(0)


def values(dtype, shape=(13, 6, 5)):
    """Values over the type's whole range."""
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1e4, shape).astype(dtype)
    bounds = np.iinfo(dtype)
    return rng.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)


def write_tiff(path, array, **settings):
    kind = {"driver": "GTiff", "count": len(array), "height": array.shape[1], "width": array.shape[2]}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(path, "w", dtype=array.dtype.name, **kind, **settings) as file,
    ):
        file.write(array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_values_of_npy_are_kept_in_both_layouts(dtype, tmp_path):
    array = values(dtype)
    np.save(tmp_path / "first.npy", array)
    np.save(tmp_path / "last.npy", np.moveaxis(array, 0, -1))
    np.save(tmp_path / "swapped.npy", array.astype(array.dtype.newbyteorder()))
    for name in ("first", "last", "swapped"):
        found = read_array(tmp_path / f"{name}.npy", ArrayFormat(13))
        assert (found.dtype, found.dtype.isnative) == (array.dtype, True)
        assert np.array_equal(found, array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", [{}, {"compress": "lzw"}, {"compress": "deflate", "interleave": "pixel"}])
def test_all_values_of_tiff_are_kept(dtype, settings, tmp_path):
    array = values(dtype)
    write_tiff(tmp_path / "a.TIF", array, **settings)
    found = read_array(tmp_path / "a.TIF", ArrayFormat(13))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_all_16_bits_of_grey_are_kept(suffix, tmp_path):
    array = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(array).save(tmp_path / f"a.{suffix}")
    found = read_array(tmp_path / f"a.{suffix}", ArrayFormat(1))
    assert (found.dtype, found.shape) == (np.uint16, (1, 256, 256))
    assert np.array_equal(found[0], array)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pngs_of_8_bits_have_their_channels_first(channels, tmp_path):
    array = values("uint8", (6, 5, channels))
    Image.fromarray(array.squeeze(-1) if channels == 1 else array).save(tmp_path / "a.png")
    assert np.array_equal(read_array(tmp_path / "a.png", ArrayFormat(channels)), np.moveaxis(array, -1, 0))


def test_two_axes_are_one_channel_and_a_layout_decides_where_both_ends_fit(tmp_path):
    np.save(tmp_path / "grey.npy", values("int16", (6, 5)))
    assert read_array(tmp_path / "grey.npy", ArrayFormat(1)).shape == (1, 6, 5)
    array = values("int16", (5, 6, 5))
    np.save(tmp_path / "both.npy", array)
    with pytest.raises(ValueError, match=r"first or the last axis of \(5, 6, 5\): set layout"):
        read_array(tmp_path / "both.npy", ArrayFormat(5))
    assert np.array_equal(read_array(tmp_path / "both.npy", ArrayFormat(5, "CHW")), array)
    assert np.array_equal(read_array(tmp_path / "both.npy", ArrayFormat(5, "HWC")), np.moveaxis(array, -1, 0))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_become_float32(dtype, tmp_path):
    array = rng.normal(size=(2, 3, 4)).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    found = read_array(tmp_path / "a.npy", ArrayFormat(2))
    assert found.dtype == np.float32
    assert np.array_equal(found, array.astype(np.float32))


def wrong_file(kind, folder):
    """Writes a file that cannot be trained on, and returns its path."""
    path = folder / "wrong.npy"
    array = values("float32")
    if kind == "nan":
        array[[3, 7], 2, 1] = np.nan
    elif kind == "channels":
        array = array[:12]
    elif kind == "dtype":
        array = array.astype(np.int64)
    elif kind == "axes":
        array = array[0, 0]
    elif kind == "objects":
        array = np.array([{}], dtype=object)
    elif kind in ("deep colour", "palette", "broken"):
        path = folder / "wrong.png"
        Image.fromarray(values("uint8", (8, 8, 3))).convert("P").save(path)
    np.save(path, array) if path.suffix == ".npy" else None
    if kind == "deep colour":
        cv2.imwrite(str(path), values("uint16", (8, 8, 3)))
    if kind == "broken":
        path.write_bytes(path.read_bytes()[:60])
    if kind == "empty tiff":
        path = folder / "wrong.tif"
        path.touch()
    return path


WRONG = {
    "nan": r"not finite \(NaN or infinite\) in channel\(s\) \[3, 7\]",
    "channels": r"must have 13 channel\(s\), got 12, in the shape \(12, 6, 5\)",
    "dtype": "its type must be uint8, uint16, int16, float32, float16, float64, got int64",
    "axes": r"must have the shape \(C, H, W\), \(H, W, C\) or \(H, W\), got \(5,\)",
    "objects": "Object arrays cannot be loaded",
    "deep colour": "16 bits and several channels is not read with all its values",
    "palette": "a PNG of mode P is not read",
    "broken": "wrong.png",
    "empty tiff": "wrong.tif",
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_named_in_a_line(kind, tmp_path):
    path = wrong_file(kind, tmp_path)
    with pytest.raises(ValueError, match=WRONG[kind]) as error:
        read_array(path, ArrayFormat(13))
    assert str(error.value).startswith(f"{str(path)!r}: ")
    assert "\n" not in str(error.value)


def test_a_check_names_wrong_files_and_remembers_right_ones(tmp_path):
    folder = tmp_path / "arrays"
    (folder / "deep").mkdir(parents=True)
    for index in range(3):
        np.save(folder / "deep" / f"{index}.NPY.npy", values("uint16"))
    (folder / "notes.txt").touch()
    assert find_array_files(folder)[1] == ["notes.txt"]
    seen = []
    check_arrays(folder, ArrayFormat(13), tmp_path / "cache", seen.append)
    assert sum(seen) == 3
    wrong_file("nan", folder)
    with pytest.raises(ValueError, match=r"1 of 4 arrays in .* are wrong: '.*wrong\.npy': it holds values"):
        check_arrays(folder, ArrayFormat(13), tmp_path / "cache")
    # What was found of 13 channels says nothing of 12.
    with pytest.raises(ValueError, match="must have 12"):
        check_arrays(folder, ArrayFormat(12), tmp_path / "cache")


def test_a_folder_without_arrays_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        check_arrays(tmp_path / "absent", ArrayFormat(1))
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match=r"must hold arrays .* holds 1 other file\(s\), such as 'a\.txt'"):
        check_arrays(tmp_path, ArrayFormat(1))


def test_statistics_are_those_of_all_pixels(tmp_path):
    arrays = [values("uint16", (2, 4 + index, 5)) for index in range(3)]
    for index, array in enumerate(arrays):
        np.save(tmp_path / f"{index}.npy", array)
    pixels = np.concatenate([array.reshape(2, -1) for array in arrays], axis=1).astype(np.float64)
    found = channel_statistics(tmp_path, 2)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=1))
    np.testing.assert_allclose(found.std, pixels.std(axis=1))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [((0,), ValueError, "at least 1, got 0"), (("3",), TypeError, "an int, got str"), ((3, "WHC"), ValueError, "WHC")],
)
def test_wrong_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        ArrayFormat(*settings).check()
