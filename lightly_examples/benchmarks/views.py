"""The random views, for one image at a time on the CPU and for a batch at a time on the GPU, from the same numbers."""

from dataclasses import dataclass

import torch
from lightly.transforms import BYOLView1Transform
from lightly.transforms.utils import IMAGENET_NORMALIZE
from torch import nn
from torchvision.transforms import v2 as T

JITTER_PROBABILITY, GREY_PROBABILITY = 0.8, 0.2
BRIGHTNESS, CONTRAST, HUE = 0.4, 0.4, 0.1


@dataclass(frozen=True)
class View:
    """A random view of ``size`` pixels."""

    size: int
    min_scale: float  # of the crop's area
    saturation: float
    blur: float  # probability
    solarization: float  # probability

    def of_an_image(self):
        """PIL image to tensor ``(3, size, size)``, by Lightly's transform."""
        return BYOLView1Transform(
            input_size=self.size,
            min_scale=self.min_scale,
            cj_prob=JITTER_PROBABILITY,
            cj_bright=BRIGHTNESS,
            cj_contrast=CONTRAST,
            cj_sat=self.saturation,
            cj_hue=HUE,
            random_gray_scale=GREY_PROBABILITY,
            gaussian_blur=self.blur,
            solarization_prob=self.solarization,
        )

    def of_a_batch(self):
        """Images ``(N, 3, H, W)`` in [0, 1] to ``(N, 3, size, size)`` in [0, 1], each by its own draws."""
        from kornia import augmentation as K  # noqa: PLC0415  (only a GPU needs it)

        steps = [
            # "resample" cuts all crops at once; the default cuts one after another.
            K.RandomResizedCrop((self.size, self.size), (self.min_scale, 1.0), cropping_mode="resample"),
            K.RandomHorizontalFlip(p=0.5),
            K.ColorJitter(BRIGHTNESS, CONTRAST, self.saturation, HUE, p=JITTER_PROBABILITY),
            K.RandomGrayscale(p=GREY_PROBABILITY),
        ]
        if self.blur:
            # Three standard deviations to each side.
            steps.append(K.RandomGaussianBlur((13, 13), (0.1, 2.0), p=self.blur))
        if self.solarization:
            steps.append(K.RandomSolarize(thresholds=(0.5, 0.5), additions=(0.0, 0.0), p=self.solarization))
        return nn.Sequential(*steps)


normalize = T.Normalize(IMAGENET_NORMALIZE["mean"], IMAGENET_NORMALIZE["std"])


def middle_of_an_image(size):
    """PIL image to the uint8 tensor ``(3, size, size)`` of its middle, its shorter side resized to ``size``."""
    return T.Compose([T.Resize(size), T.CenterCrop(size), T.PILToTensor()])


to_float = T.ToDtype(torch.float32, scale=True)
