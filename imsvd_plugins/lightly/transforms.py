"""Training views of both methods: BYOL's, by Lightly's own transforms, and views of images without colour channels."""

from collections.abc import Callable
from typing import Any

from lightly.transforms.byol_transform import BYOLTransform
from lightly.transforms.multi_view_transform import MultiViewTransform

from imsvd_plugins.data.channel_views import ChannelView


class _TwoViewTransform(BYOLTransform):
    """BYOL's views, or any two. Lightly's annotations, which config files must match, allow only BYOL's."""

    def __init__(
        self,
        view_1_transform: Callable[[Any], Any] | None = None,
        view_2_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(view_1_transform, view_2_transform)  # type: ignore[arg-type]


class IMSVDTransform(_TwoViewTransform):
    """Two views of an image for IMSVD (Niu, Xia, Shan, Wang, arXiv 2501.03469).

    The defaults are the paper's for ImageNet, BYOL's two asymmetric views: 224 pixels, colour jitter (0.4, 0.4, 0.2,
    0.1) with probability 0.8, grey 0.2, blur 1.0 and 0.1, solarization 0 and 0.2. The paper's views for CIFAR-10 have
    crops of at least a fifth of the area, more saturation, and neither blur nor solarization:

    >>> from lightly.transforms import BYOLView1Transform
    >>> view = BYOLView1Transform(input_size=32, min_scale=0.2, cj_sat=0.4, gaussian_blur=0.0)
    >>> transform = IMSVDTransform(view, view)

    For more views, of one size or several, use Lightly's multi-crop, which is beyond the paper:

    >>> from lightly.transforms import SwaVTransform
    >>> transform = SwaVTransform(crop_sizes=(224, 96), crop_counts=(2, 4))

    Args:
        view_1_transform: Transform of the first view, image to tensor ``(C, H, W)``.
        view_2_transform: Transform of the second view.
    """


class HSICTransform(_TwoViewTransform):
    """Two views of an image for SSL-HSIC (Li et al., NeurIPS 2021, arXiv 2106.08320): BYOL's views.

    Args:
        view_1_transform: Transform of the first view, image to tensor ``(C, H, W)``.
        view_2_transform: Transform of the second view.
    """


class ChannelViewTransform(MultiViewTransform):
    """Random views of an image of any number of channels: satellite bands, 16-bit radiographs, spectrograms.

    See :class:`~imsvd_plugins.data.channel_views.ChannelView` for what varies and in which unit. The views keep the
    image's unit, so normalise after them.

    Args:
        input_size: Height and width of the views in pixels.
        num_views: Number of views, at least 2.
        min_scale: The smallest share of the image's area that a crop covers.
        hf_prob: Probability of mirroring left and right.
        vf_prob: Probability of mirroring up and down.
        quarter_turns: Whether to turn by 0, 90, 180 or 270 degrees.
        gaussian_blur: Probability of a Gaussian blur.
        gain: The largest relative change of a channel's values.
        offset: The largest shift of a channel, in its standard deviations.
        noise: The largest standard deviation of Gaussian noise, in the channel's standard deviations.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        input_size: int = 224,
        num_views: int = 2,
        min_scale: float = 0.2,
        hf_prob: float = 0.5,
        vf_prob: float = 0.5,
        quarter_turns: bool = True,
        gaussian_blur: float = 0.0,
        gain: float = 0.2,
        offset: float = 0.2,
        noise: float = 0.1,
    ) -> None:
        if num_views < 2:
            raise ValueError(f"num_views must be at least 2, got {num_views}.")
        view = ChannelView(input_size, min_scale, hf_prob, vf_prob, quarter_turns, gaussian_blur, gain, offset, noise)
        super().__init__(transforms=[view] * num_views)
