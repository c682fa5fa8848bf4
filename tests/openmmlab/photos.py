"""A folder of images of every kind that people have, three of them broken."""

from pathlib import Path

import numpy as np
from PIL import Image

BROKEN = {"2019/cut.jpg", "empty.png", "2020/a/b/text.BMP"}
# Readable images.
COUNT = 38


def write(root: Path) -> None:
    """Write them, a file that is no image and a hidden one."""
    random = np.random.default_rng(0)
    for number in range(COUNT):
        folder = root / ("", "2019", "2019/summer", "2020/a/b")[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        _save(random.integers(0, 256, (40, 30, 4), np.uint8), number % 10, folder / f"photo {number}")
    whole = (root / "photo 0.JPG").read_bytes()
    (root / "2019" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.png").touch()
    (root / "2020" / "a" / "b" / "text.BMP").write_text("no image")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.jpg").touch()


def _save(pixels: np.ndarray, kind: int, path: Path) -> None:
    colours, grey = Image.fromarray(pixels[..., :3]), pixels[..., 0]
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    if kind == 1:
        colours.save(f"{path}.Jpeg", exif=exif)
        return
    images = [colours, None, Image.fromarray(pixels), Image.fromarray(grey), colours.convert("P")]
    images += [colours.convert("CMYK"), deep, deep, colours, colours.convert("P")]
    suffixes = ("JPG", "", "png", "jpg", "gif", "jpeg", "png", "Tiff", "webp", "PNG")
    images[kind].save(f"{path}.{suffixes[kind]}")
