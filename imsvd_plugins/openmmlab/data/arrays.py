"""Arrays of any number of channels: their dataset, views and normalisation, in mmengine's form."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dist import barrier, is_main_process
from mmpretrain.datasets import BaseDataset
from mmpretrain.models import SelfSupDataPreprocessor

from imsvd_plugins.data.array_check import arrays_of, check_arrays
from imsvd_plugins.data.array_files import ArrayFormat, read_array
from imsvd_plugins.data.channel_views import ChannelView as View
from imsvd_plugins.data.progress import ImageProgress
from imsvd_plugins.openmmlab.data.image_folder import existing_folder
from imsvd_plugins.openmmlab.errors import ConfigTypeError, ConfigValueError


class ArrayFolder(BaseDataset):
    """The arrays in a folder and its sub-folders, without labels.

    Args:
        data_root: The folder; by default the config's own ``data_root``. Its files are ``.npy``, TIFF, or PNG of 8 or
            16 bits.
        channels: Number of channels ``C``, the backbone's ``in_channels``.
        layout: Where the channels of ``.npy`` files are, "CHW" or "HWC"; None for the axis that is ``channels`` long.
        pipeline: Transforms; they get ``img`` (float32, ``(H, W, C)``, the files' own values) and ``img_path``.
        **kwargs: As for mmpretrain's ``BaseDataset``.

    Raises:
        ConfigTypeError: If ``channels`` is not an integer.
        ConfigValueError: If a setting is out of range, the folder does not exist, or it holds no array.
    """

    # The option that names the folder.
    option: ClassVar[str] = "data_root"

    def __init__(
        self,
        data_root: str | None = None,
        channels: int = 1,
        layout: str | None = None,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.form = ArrayFormat(channels, layout)
        try:
            self.form.check()
        except TypeError as error:
            raise ConfigTypeError(f"ArrayFolder: {error}") from error
        except ValueError as error:
            raise ConfigValueError(f"ArrayFolder: {error}") from error
        super().__init__(
            ann_file="", data_root=existing_folder(data_root, self.option, "arrays"), pipeline=pipeline, **kwargs
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """The files of all arrays."""
        try:
            return [{"img_path": str(Path(self.data_root) / file)} for file in arrays_of(self.data_root)]
        except ValueError as error:
            raise ConfigValueError(f"data_root of ArrayFolder: {error}") from error

    def prepare_data(self, idx: int) -> Any:
        """The pipeline's result for one array."""
        info = self.get_data_info(idx)
        return self.pipeline({**info, **array_results(read_array(info["img_path"], self.form))})

    def check(self, cache: Path) -> None:
        """Read all arrays once, on the first process.

        Args:
            cache: A folder for the result.

        Raises:
            ConfigValueError: If an array is invalid.
        """
        if is_main_process():
            try:
                with ImageProgress(len(arrays_of(self.data_root)), "arrays") as progress:
                    check_arrays(self.data_root, self.form, cache, progress)
            except ValueError as error:
                raise ConfigValueError(f"data_root of ArrayFolder: {error}") from error
        barrier()


def array_results(values: Any) -> dict[str, Any]:
    """The entries that pipelines expect of an image, for an array ``(C, H, W)``."""
    img = np.ascontiguousarray(np.moveaxis(values, 0, -1).astype(np.float32))
    return {"img": img, "img_shape": img.shape[:2], "ori_shape": img.shape[:2]}


class ChannelView(BaseTransform):
    """A random view of ``img`` ``(H, W, C)`` whose channels are not colours.

    Args:
        **settings: See :class:`imsvd_plugins.data.channel_views.ChannelView`.

    Raises:
        ConfigValueError: If a setting is out of range.
    """

    def __init__(self, **settings: Any) -> None:
        try:
            self.view = View(**settings)
        except ValueError as error:
            raise ConfigValueError(f"ChannelView: {error}") from error

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace ``img`` by the view."""
        img = results["img"]
        view = self.view(torch.from_numpy(np.atleast_3d(img)).permute(2, 0, 1)).permute(1, 2, 0).numpy()
        return {**results, "img": view, "img_shape": view.shape[:2]}


class ChannelDataPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's normalisation of views, for any number of channels; mmpretrain allows only one or three.

    Args:
        mean: Each channel's mean ``(C,)``, or one for all, in the unit of the files' values.
        std: Each channel's standard deviation, or one for all.
        **kwargs: As for mmpretrain's ``SelfSupDataPreprocessor``.

    Raises:
        ConfigValueError: If a value is not finite, a deviation is not positive, or ``mean`` and ``std`` differ in
            length.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        values = [torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1) for numbers in (mean, std)]
        if not (len(values[0]) == len(values[1]) and all(part.isfinite().all() for part in values)):
            raise ConfigValueError(
                f"data_preprocessor: mean and std must hold as many finite numbers, got {mean} and {std}."
            )
        if not (values[1] > 0).all():
            raise ConfigValueError(f"data_preprocessor.std must hold numbers above 0, got {std}.")
        self._enable_normalize = True
        for name, value in zip(("mean", "std"), values, strict=True):
            self.register_buffer(name, value, persistent=False)
