"""Reading arrays of any number of channels from files, with their values unchanged."""

import warnings
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imsvd_plugins.data.image_files import find_image_files
from imsvd_plugins.extras import missing_extra

_TIFF = (".tif", ".tiff")
#: Suffixes of the files that hold arrays, in any case.
SUFFIXES = (".npy", ".png", *_TIFF)
LAYOUTS = ("CHW", "HWC")
_KEPT = ("uint8", "uint16", "int16", "float32")
_TO_FLOAT32 = ("float16", "float64")
_PNG_MODES = ("L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B")
_BIT_DEPTH = 24  # index of the byte of a PNG file that holds it
_FILTERS = Lock()  # All threads share Python's list of warning filters.


class ArrayFormat(NamedTuple):
    """The format that a folder's arrays share.

    Attributes:
        channels: Number of channels ``C``, at least 1.
        layout: Where a file's channels are, "CHW" or "HWC". None for the axis that is ``channels`` long, the first or
            the last. It applies only to ``.npy``: TIFF and PNG define where their channels are.
    """

    channels: int
    layout: str | None = None

    def check(self) -> None:
        """Validate both attributes.

        Raises:
            TypeError: If ``channels`` is not an integer.
            ValueError: If one is out of range.
        """
        if not isinstance(self.channels, int) or isinstance(self.channels, bool):
            raise TypeError(f"channels must be an int, got {type(self.channels).__name__}.")
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}.")
        if self.layout not in (None, *LAYOUTS):
            raise ValueError(f'layout must be "CHW", "HWC" or None, got {self.layout!r}.')


def find_array_files(root: str | Path) -> tuple[list[str], list[str]]:
    """The files below a folder, sorted, except hidden ones.

    Args:
        root: The folder.

    Returns:
        The files with an array's suffix in any case (:data:`SUFFIXES`), and all others; relative to the folder.

    Raises:
        ValueError: If the folder does not exist or cannot be listed.
    """
    if not Path(root).is_dir():
        raise ValueError(f"there is no folder {str(root)!r}.")
    images, others = find_image_files(str(root))
    files = sorted([*images, *others])
    arrays = [file for file in files if Path(file).suffix.lower() in SUFFIXES]
    return arrays, sorted(set(files).difference(arrays))


def read_array(file: str | Path, form: ArrayFormat) -> NDArray[Any]:
    """Read one array.

    Args:
        file: NumPy's ``.npy``, of ``(H, W)`` or three axes; TIFF of any number of bands; or PNG, with all of its 16
            bits.
        form: The expected format.

    Returns:
        The unchanged values ``(C, H, W)``: uint8, uint16, int16 or float32; float16 and float64 become float32.

    Raises:
        ImportError: If rasterio, which reads TIFF, is not installed.
        ValueError: If the file cannot be read, or holds another number of channels, another type, or values that are
            not finite. The message names the file.
    """
    path = Path(file)
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            values = _channels_first(np.load(path, allow_pickle=False), form)
        elif suffix in _TIFF:
            values = _read_tiff(path)
        else:
            values = _read_png(path)
        values = _checked(values, form)
    except ImportError:
        raise
    except Exception as error:  # A damaged file can make a decoder raise anything.
        raise ValueError(f"{str(file)!r}: {' '.join((str(error) or type(error).__name__).split())}") from error
    return np.ascontiguousarray(values)


def _channels_first(values: NDArray[Any], form: ArrayFormat) -> NDArray[Any]:
    if values.ndim == 2:
        return values[None]
    if values.ndim != 3:
        raise ValueError(f"it must have the shape (C, H, W), (H, W, C) or (H, W), got {values.shape}")
    if form.layout is not None:
        return values if form.layout == "CHW" else np.moveaxis(values, -1, 0)
    first, last = (values.shape[axis] == form.channels for axis in (0, -1))
    if first and last:
        raise ValueError(f"its channels may be the first or the last axis of {values.shape}: set layout")
    return np.moveaxis(values, -1, 0) if last else values


def _read_tiff(path: Path) -> NDArray[Any]:
    try:
        import rasterio  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise missing_extra("TIFF", "rasterio", "tiff") from error
    with _FILTERS, warnings.catch_warnings():
        # Georeferences do not matter here, and a radiograph has none.
        warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
        opened = rasterio.open(path)
    with opened:
        bands: NDArray[Any] = opened.read()
        return bands


def _read_png(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        deep = path.read_bytes()[_BIT_DEPTH] == 16
        if image.mode not in _PNG_MODES or (deep and not image.mode.startswith("I")):
            raise ValueError(
                f"a PNG of {'16 bits and several channels' if deep else f'mode {image.mode}'} is not read with all its "
                "values: write it as TIFF or .npy"
            )
        values = np.asarray(image)
    if values.dtype == np.int32:
        values = values.astype(np.uint16)  # Pillow's older mode for 16 bits
    return values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)


def _checked(values: NDArray[Any], form: ArrayFormat) -> NDArray[Any]:
    if len(values) != form.channels:
        raise ValueError(f"it must have {form.channels} channel(s), got {len(values)}, in the shape {values.shape}")
    if 0 in values.shape:
        raise ValueError(f"it is empty, of the shape {values.shape}")
    if values.dtype.name in _TO_FLOAT32:
        values = values.astype(np.float32)
    if values.dtype.name not in _KEPT:
        raise ValueError(f"its type must be {', '.join((*_KEPT, *_TO_FLOAT32))}, got {values.dtype.name}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = sorted({int(channel) for channel in np.argwhere(~np.isfinite(values))[:, 0]})
        raise ValueError(f"it holds values that are not finite (NaN or infinite) in channel(s) {bad}, counted from 0")
    return values.astype(values.dtype.newbyteorder("="), copy=False)
