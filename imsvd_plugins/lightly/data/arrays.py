"""A data module of arrays of any number of channels, without labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2 as T

from imsvd_plugins.data.array_check import arrays_of, check_arrays
from imsvd_plugins.data.array_files import ArrayFormat, read_array
from imsvd_plugins.data.channel_views import as_float
from imsvd_plugins.data.progress import ImageProgress
from imsvd_plugins.lightly.data.views_data_module import Transform, ViewsDataModule
from imsvd_plugins.lightly.errors import SettingsError
from imsvd_plugins.training.input_channels import input_channels


class ArraysDataModule(ViewsDataModule):
    """The arrays in a folder and its sub-folders: ``.npy``, TIFF, or PNG of 8 or 16 bits.

    There are no labels, and so no validation. Batches are ``(views, zeros)``. All arrays are read once before the
    training, and an invalid one stops it.

    Args:
        root: The folder.
        channels: Number of channels ``C``, the backbone's ``in_channels``.
        transform: From the file's values ``(C, H, W)``, as float32, to a list of views, such as
            :class:`~imsvd_plugins.lightly.transforms.ChannelViewTransform`.
        mean: Each channel's mean ``(C,)``, or one for all, in the unit of the files' values.
        std: Each channel's standard deviation, or one for all. Every view is normalised by both.
        layout: Where the channels of ``.npy`` files are, "CHW" or "HWC"; None for the axis that is ``channels`` long.
        batch_size_per_device: Images per device and step, at least 2.
        num_workers: Loader processes per device.
        val_transform: From the file's values to the view that ``imsvd-plugins embed`` normalises and passes through
            the network; None for the whole array.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If a setting is out of range, the folder does not exist, or it holds no array.
    """

    num_classes = None  # no online classifier without labels

    def __init__(
        self,
        root: str,
        channels: int,
        transform: Transform,
        mean: list[float] | float = 0.0,
        std: list[float] | float = 1.0,
        layout: str | None = None,
        batch_size_per_device: int = 256,
        num_workers: int = 8,
        val_transform: Transform | None = None,
    ) -> None:
        self.form = ArrayFormat(channels, layout)
        self.form.check()
        self.normalize = normalization(mean, std, channels)
        super().__init__(transform, val_transform or as_float, batch_size_per_device, num_workers)
        self.root = root
        arrays_of(root)

    def prepare_data(self) -> None:
        """Read all arrays once, on one process.

        Raises:
            SettingsError: If an array is invalid; the message names the first few.
        """
        cache = None if self.trainer is None else Path(self.trainer.default_root_dir)
        try:
            with ImageProgress(len(arrays_of(self.root)), "arrays") as progress:
                check_arrays(self.root, self.form, cache, progress)
        except ValueError as error:
            raise SettingsError(f"root: {error}") from error

    def setup(self, stage: str) -> None:
        """Open the arrays.

        Raises:
            SettingsError: If the backbone takes another number of channels, or there are too few arrays.
        """
        backbone = getattr(getattr(self.trainer, "lightning_module", None), "backbone", None)
        taken = None if backbone is None else input_channels(backbone)
        if taken not in (None, self.form.channels):
            raise SettingsError(f"the backbone's in_channels must be the data's {self.form.channels}, got {taken}.")
        super().setup(stage)

    def val_dataloader(self) -> Any:
        """No loaders: without labels there is nothing to validate."""
        return []

    def bank_dataloader(self) -> None:  # type: ignore[override]
        """None, because there are no labels."""

    def _dataset(self, train: bool, transform: Transform) -> Dataset[Any]:
        return Arrays(self.root, self.form, Normalized(transform, self.normalize))


class Arrays(Dataset[tuple[Any, int]]):
    """The arrays of a folder, each with the label 0.

    Args:
        root: The folder.
        form: The format of the arrays.
        transform: From values ``(C, H, W)``, float32, to the dataset's sample.

    Raises:
        ValueError: If there is no array.
    """

    def __init__(self, root: str, form: ArrayFormat, transform: Transform) -> None:
        self.root = Path(root)
        self.files = arrays_of(root)
        self.form = form
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(as_float(read_array(self.root / self.files[index], self.form))), 0


class Normalized:
    """A transform that normalises another transform's view or views.

    Args:
        transform: From an image to a tensor ``(C, H, W)`` or a list of them.
        normalize: From such a tensor to the normalised one.
    """

    def __init__(self, transform: Transform, normalize: nn.Module) -> None:
        self.transform = transform
        self.normalize = normalize

    def __call__(self, image: Tensor) -> Any:
        """The normalised view or views."""
        views = self.transform(image)
        return [self.normalize(view) for view in views] if isinstance(views, (list, tuple)) else self.normalize(views)


def normalization(mean: Sequence[float] | float, std: Sequence[float] | float, channels: int) -> nn.Module:
    """The normalisation of arrays.

    Args:
        mean: Each channel's mean, or one for all.
        std: Each channel's standard deviation, or one for all.
        channels: Number of channels.

    Raises:
        ValueError: If the number of values is not ``channels``, one is not finite, or a deviation is not positive.
    """
    numbers: dict[str, list[float]] = {}
    for name, value in {"mean": mean, "std": std}.items():
        listed = [float(number) for number in value] if isinstance(value, Sequence) else [float(value)] * channels
        if len(listed) != channels or not torch.tensor(listed).isfinite().all():
            raise ValueError(
                f"{name} must be a finite number or {channels} of them, one for each channel, got {value}."
            )
        numbers[name] = listed
    if min(numbers["std"]) <= 0:
        raise ValueError(f"std must be above 0, got {std}.")
    return T.Normalize(numbers["mean"], numbers["std"])  # type: ignore[no-any-return]
