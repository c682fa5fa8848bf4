"""The views both methods train on: BYOL's, by Lightly's own transforms."""

from collections.abc import Callable
from typing import Any

from lightly.transforms.byol_transform import BYOLTransform


class _TwoViewTransform(BYOLTransform):
    """BYOL's views, or any two: Lightly's own annotations, which config files are held to, allow only BYOL's."""

    def __init__(
        self,
        view_1_transform: Callable[[Any], Any] | None = None,
        view_2_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(view_1_transform, view_2_transform)  # type: ignore[arg-type]


class IMSVDTransform(_TwoViewTransform):
    """Two views of an image for IMSVD (Niu, Xia, Shan, Wang, arXiv 2501.03469).

    The defaults are the paper's for ImageNet, BYOL's two asymmetric views: 224 pixels, colour jitter (0.4, 0.4, 0.2,
    0.1) with probability 0.8, grey 0.2, blur 1.0 and 0.1, solarization 0 and 0.2. Its views for CIFAR-10, with crops
    from a fifth of the area on, more saturation, and neither blur nor solarization, are

    >>> from lightly.transforms import BYOLView1Transform
    >>> view = BYOLView1Transform(input_size=32, min_scale=0.2, cj_sat=0.4, gaussian_blur=0.0)
    >>> transform = IMSVDTransform(view, view)

    For more views, of one size or of several, take Lightly's own multi-crop, beyond the paper:

    >>> from lightly.transforms import SwaVTransform
    >>> transform = SwaVTransform(crop_sizes=(224, 96), crop_counts=(2, 4))

    Args:
        view_1_transform: Transform of the first view, image to tensor ``(C, H, W)``.
        view_2_transform: Transform of the second view.
    """


class HSICTransform(_TwoViewTransform):
    """Two views of an image for SSL-HSIC (Li et al., NeurIPS 2021, arXiv 2106.08320), which are BYOL's.

    Args:
        view_1_transform: Transform of the first view, image to tensor ``(C, H, W)``.
        view_2_transform: Transform of the second view.
    """
