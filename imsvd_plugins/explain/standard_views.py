"""Views of images for a network of which nobody knows how its images were prepared."""

import torch
from torchvision.transforms import v2 as T

from imsvd_plugins.explain.encoder import View

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def standard_plain_view(size: int) -> View:
    """The middle of an image ``(3, size, size)``, as ImageNet's evaluations take it, by ImageNet's normalisation."""
    # ImageNet's crops of 224 pixels come from images of 256; small images have nothing to lose at their edge.
    resized = round(size * 256 / 224) if size >= 96 else size
    return T.Compose([T.Resize(resized), T.CenterCrop(size), _to_tensor()])  # type: ignore[no-any-return]


def standard_random_view(size: int) -> View:
    """A random crop ``(3, size, size)`` in changed colours, perhaps mirrored, normalised by ImageNet's values."""
    return T.Compose(  # type: ignore[no-any-return]
        [
            T.RandomResizedCrop(size, scale=(0.2, 1.0)),
            T.RandomHorizontalFlip(),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            T.RandomGrayscale(0.2),
            _to_tensor(),
        ]
    )


def _to_tensor() -> T.Transform:
    return T.Compose([T.ToImage(), T.ToDtype(torch.float32, scale=True), T.Normalize(_MEAN, _STD)])
