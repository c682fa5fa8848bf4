"""The views of a multi-crop that a target network sees."""

from collections.abc import Sequence

from torch import Tensor


def largest_views(views: Sequence[Tensor]) -> list[Tensor]:
    """The views ``(N, C, H, W)`` of the largest area ``H x W``, in order; all views if they have one size.

    In a multi-crop the largest views show most of the image, the others a part of it. As in DINO (Caron et al. 2021,
    arXiv 2104.14294), only the largest pass the target network, and all pass the online network.
    """
    largest = max(view.shape[-2:].numel() for view in views)
    return [view for view in views if view.shape[-2:].numel() == largest]
