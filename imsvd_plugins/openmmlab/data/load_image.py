"""The pipeline step that reads an image's file."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import MMLogger

from imsvd_plugins._terminal import printable
from imsvd_plugins.data.image_files import printable_name, read_image


class LoadImage(BaseTransform):
    """Reads an image of any kind into the form of mmcv's ``LoadImageFromFile``: three channels in BGR, uint8.

    :func:`~imsvd_plugins.data.image_files.read_image` handles greyscale, palettes, CMYK, transparency, 16 bits and EXIF
    rotation, as in `imsvd-plugins embed`.

    For a file that cannot be read it returns None and warns, once for each file and process. mmengine's datasets then
    take another image, drawn from numpy's generator. With
    :class:`~imsvd_plugins.training.seeded_batches.SeededBatchSampler` it is the same one in every run.

    An image that is already loaded, as mmpretrain's inferencers pass it, is left unchanged.

    Required keys: ``img_path``, or ``img``. Added keys: ``img`` ``(H, W, 3)``, ``img_shape``, ``ori_shape``.
    """

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Add the image; None if it cannot be read."""
        if "img" in results:
            return results
        path = results["img_path"]
        try:
            pixels = np.asarray(read_image(path))
        except Exception as error:  # A damaged file can make a decoder raise anything.
            if path not in self._warned:
                self._warned.add(path)
                MMLogger.get_current_instance().warning(
                    "%s cannot be read, and another image takes its place: %s",
                    printable(printable_name(path)),
                    printable(str(error) or type(error).__name__),
                )
            return None
        # A copy, because pipelines may write into it.
        results["img"] = np.ascontiguousarray(pixels[..., ::-1])
        results["img_shape"] = results["ori_shape"] = pixels.shape[:2]
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
