"""Random views of images whose channels are not colours."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms import v2 as T


class ChannelView(nn.Module):
    """A random view of an image of any number of channels.

    The view is a resized crop, with random flips, quarter turns and blur. Each channel gets its own gain, offset and
    noise, and nothing mixes channels. Offset and noise are in units of the channel's standard deviation in the crop,
    and the gain scales values about zero, so the values may be in any unit: digital numbers, reflectance, Hounsfield
    units.

    Args:
        size: Height and width of the view in pixels.
        min_scale: The smallest share of the image's area that a crop covers, above 0 and at most 1.
        horizontal_flip: Probability of mirroring left and right.
        vertical_flip: Probability of mirroring up and down.
        quarter_turns: Whether to turn by 0, 90, 180 or 270 degrees with equal probability, for images from above.
        blur: Probability of a Gaussian blur with sigma 0.1 to 2 pixels.
        gain: The largest relative change of a channel's values, at least 0 and below 1.
        offset: The largest shift of a channel, in standard deviations.
        noise: The largest standard deviation of Gaussian noise, in standard deviations of the channel.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        size: int,
        min_scale: float = 0.2,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.5,
        quarter_turns: bool = True,
        blur: float = 0.0,
        gain: float = 0.2,
        offset: float = 0.2,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}.")
        if not 0 < min_scale <= 1:
            raise ValueError(f"min_scale must be in (0, 1], got {min_scale}.")
        if not 0 <= gain < 1:
            raise ValueError(f"gain must be in [0, 1), got {gain}.")
        for name, value in {"horizontal_flip": horizontal_flip, "vertical_flip": vertical_flip, "blur": blur}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a probability, got {value}.")
        for name, value in {"offset": offset, "noise": noise}.items():
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}.")
        self.geometry = T.Compose(
            [
                T.RandomResizedCrop(size, scale=(min_scale, 1.0), antialias=True),
                T.RandomHorizontalFlip(horizontal_flip),
                T.RandomVerticalFlip(vertical_flip),
            ]
        )
        self.quarter_turns = quarter_turns
        # A kernel of a tenth of the view, as in SimCLR.
        self.blur = T.RandomApply([T.GaussianBlur(max(3, size // 10 // 2 * 2 + 1))], blur)
        self.gain = gain
        self.offset = offset
        self.noise = noise

    def forward(self, image: Tensor | NDArray[Any]) -> Tensor:
        """The view.

        Args:
            image: Values ``(C, H, W)`` of any type.

        Returns:
            Values ``(C, size, size)``, float32, in the image's unit.
        """
        view = self.geometry(as_float(image))
        if self.quarter_turns:
            view = view.rot90(int(torch.randint(4, ())), (1, 2))
        return self._changed_values(self.blur(view))

    def _changed_values(self, view: Tensor) -> Tensor:
        channels = (len(view), 1, 1)
        std = view.std(dim=(1, 2), keepdim=True, correction=0)
        if self.gain:
            view = view * (1 + self.gain * (2 * torch.rand(channels) - 1))
        if self.offset:
            view = view + std * self.offset * (2 * torch.rand(channels) - 1)
        if self.noise:
            view = view + std * self.noise * torch.rand(()) * torch.randn_like(view)
        return view


def as_float(image: Tensor | NDArray[Any]) -> Tensor:
    """Values of any type as float32, which holds all of uint8, int16 and uint16 exactly."""
    if isinstance(image, Tensor):
        return image.to(torch.float32)
    return torch.from_numpy(image.astype("float32"))
