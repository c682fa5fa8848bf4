"""Thumbnails of many images in a few WebP sheets."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

_COLUMNS = 16
_PER_SHEET = _COLUMNS * _COLUMNS
# A multiple of WebP's blocks of 16 pixels; otherwise one thumbnail's colours run into the next one's.
_BLOCK = 16
_LARGEST = 64
_QUALITIES = (85, 70, 50, 30)
_BACKGROUND = (128, 128, 128)


@dataclass(frozen=True)
class Sprites:
    """Thumbnails in sheets.

    Attributes:
        sheets: WebP files; a sheet has 16 thumbnails a row and at most 16 rows.
        side: Height and width of a thumbnail in pixels.
        columns: Thumbnails per row.
        per_sheet: Thumbnails per sheet; the last sheet may hold fewer.
    """

    sheets: list[bytes]
    side: int
    columns: int = _COLUMNS
    per_sheet: int = _PER_SHEET


def make_sprites(images: Iterable[Image.Image], budget: int = 7_000_000) -> Sprites:
    """Make thumbnails of at most 64 pixels a side.

    An image that is not square is placed whole on grey. Small images are enlarged pixel by pixel.

    Args:
        images: RGB images. The first one's size determines the thumbnails' size.
        budget: Bytes that the sheets may take together. If they exceed it, they are written again at a lower quality;
            the lowest quality may still exceed the budget.

    Returns:
        The sheets.
    """
    tiles: list[NDArray[np.uint8]] = []
    side = _BLOCK
    for image in images:
        if not tiles:
            side = min(_LARGEST, -(-max(image.size) // _BLOCK) * _BLOCK)
        tiles.append(_tile(image, side))
    sheets: list[bytes] = []
    for quality in _QUALITIES:
        sheets = [encode_webp(sheet, quality) for sheet in _sheets(tiles, side)]
        if sum(map(len, sheets)) <= budget:
            break
    return Sprites(sheets, side)


def encode_webp(image: Image.Image, quality: int = 85) -> bytes:
    """Encode an image as WebP."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=4)
    return file.getvalue()


def _tile(image: Image.Image, side: int) -> NDArray[np.uint8]:
    enlarged = max(image.size) < side
    resampling = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return np.asarray(ImageOps.pad(image.convert("RGB"), (side, side), method=resampling, color=_BACKGROUND))


def _sheets(tiles: list[NDArray[np.uint8]], side: int) -> Iterator[Image.Image]:
    for start in range(0, len(tiles), _PER_SHEET):
        part = tiles[start : start + _PER_SHEET]
        rows = -(-len(part) // _COLUMNS)
        sheet = np.full((rows * side, _COLUMNS * side, 3), _BACKGROUND[0], dtype=np.uint8)
        for index, tile in enumerate(part):
            row, column = divmod(index, _COLUMNS)
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
        yield Image.fromarray(sheet)
