"""Default views, for a network whose image preparation is unknown."""

import torch
from torchvision.transforms import v2 as T

from imsvd_plugins.explain.encoder import View

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def standard_plain_view(size: int) -> View:
    """The central crop ``(3, size, size)`` of an image as in ImageNet evaluations, with ImageNet's normalisation."""
    # ImageNet's crops of 224 pixels come from images of 256; small images keep their edges.
    resized = round(size * 256 / 224) if size >= 96 else size
    return T.Compose([T.Resize(resized), T.CenterCrop(size), _to_tensor()])  # type: ignore[no-any-return]


def standard_random_view(size: int) -> View:
    """A random crop ``(3, size, size)``, perhaps mirrored, colour-jittered or grey, with ImageNet's normalisation."""
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
