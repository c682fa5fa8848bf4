"""The views both methods train on: BYOL's, by Lightly's own transforms."""

from lightly.transforms.byol_transform import BYOLTransform


class IMSVDTransform(BYOLTransform):
    """Two views of an image for IMSVD (Niu, Xia, Shan, Wang, arXiv 2501.03469).

    The defaults are the paper's for ImageNet, BYOL's two asymmetric views: 224 pixels, colour jitter (0.4, 0.4, 0.2,
    0.1) with probability 0.8, grey 0.2, blur 1.0 and 0.1, solarization 0 and 0.2. Its views for CIFAR-10, with crops
    from a fifth of the area on, more saturation, and neither blur nor solarization, are

    >>> from lightly.transforms import BYOLView1Transform
    >>> view = BYOLView1Transform(input_size=32, min_scale=0.2, cj_sat=0.4, gaussian_blur=0.0)
    >>> transform = IMSVDTransform(view, view)

    Args:
        view_1_transform: Transform of the first view, image to tensor ``(C, H, W)``.
        view_2_transform: Transform of the second view.
    """


class HSICTransform(BYOLTransform):
    """Two views of an image for SSL-HSIC (Li et al., NeurIPS 2021, arXiv 2106.08320), which are BYOL's.

    Args:
        view_1_transform: Transform of the first view, image to tensor ``(C, H, W)``.
        view_2_transform: Transform of the second view.
    """
