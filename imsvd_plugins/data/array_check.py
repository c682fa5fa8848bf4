"""Checks and statistics of a folder of arrays, before a training starts."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imsvd_plugins.data.array_files import SUFFIXES, ArrayFormat, find_array_files, read_array
from imsvd_plugins.data.image_check import find_unreadable
from imsvd_plugins.data.image_files import printable_name

_NAMED = 3  # number of invalid arrays that a message names


class ChannelStatistics(NamedTuple):
    """Each channel's statistics over all pixels of all arrays, in the files' own units.

    Attributes:
        mean: Means ``(C,)``.
        std: Standard deviations ``(C,)``.
    """

    mean: list[float]
    std: list[float]


def arrays_of(root: str | Path) -> list[str]:
    """The arrays of a folder, at least one.

    Args:
        root: The folder.

    Raises:
        ValueError: If the folder does not exist or holds no array.
    """
    files, others = find_array_files(root)
    if not files:
        found = f"{len(others)} other file(s), such as {printable_name(others[0])!r}" if others else "nothing"
        raise ValueError(f"{str(root)!r} must hold arrays ({', '.join(SUFFIXES)}), and it holds {found}.")
    return files


def check_arrays(
    root: str | Path,
    form: ArrayFormat,
    cache: Path | None = None,
    on_array: Callable[[int], None] = lambda checked: None,
) -> None:
    """Read every array of a folder once.

    Args:
        root: The folder.
        form: The expected format of the arrays.
        cache: A folder for a file that stores the result, so that only new and changed arrays are read again; None to
            store nothing.
        on_array: Called with the number of arrays that were checked since its last call.

    Raises:
        ImportError: If there is a TIFF and rasterio is not installed.
        ValueError: If there is no array, or one is invalid. The message names the first few.
    """
    files = arrays_of(root)
    read_array(Path(root) / files[0], form)  # fails at once if all have an unexpected number of channels

    def fault(path: str) -> str | None:
        try:
            read_array(path, form)
        except ValueError as error:
            return str(error)
        return None

    remembered = None if cache is None else cache / f"arrays-{form.channels}-{form.layout}.json"
    wrong = find_unreadable(root, files, remembered, on_array, fault)
    if wrong:
        named = "; ".join(printable_name(reason) for reason in list(wrong.values())[:_NAMED])
        raise ValueError(f"{len(wrong)} of {len(files)} arrays in {str(root)!r} are wrong: {named}.")


def channel_statistics(root: str | Path, channels: int, layout: str | None = None) -> ChannelStatistics:
    """Compute the mean and the standard deviation that normalise a folder's arrays.

    Args:
        root: The folder.
        channels: Number of channels ``C``.
        layout: See :class:`~imsvd_plugins.data.array_files.ArrayFormat`.

    Raises:
        ImportError: If there is a TIFF and rasterio is not installed.
        TypeError: If ``channels`` is not an integer.
        ValueError: If there is no array, or one is invalid.
    """
    form = ArrayFormat(channels, layout)
    form.check()
    pixels, mean, squares = 0, np.zeros(channels), np.zeros(channels)
    for file in arrays_of(root):
        values = read_array(Path(root) / file, form).reshape(channels, -1).astype(np.float64)
        # Chan's update, because a difference of large sums would lose the digits of a small deviation.
        count, own = values.shape[1], values.mean(axis=1)
        delta = own - mean
        squares += ((values - own[:, None]) ** 2).sum(axis=1) + delta**2 * pixels * count / (pixels + count)
        mean += delta * count / (pixels + count)
        pixels += count
    return ChannelStatistics(mean.tolist(), np.sqrt(squares / pixels).tolist())
