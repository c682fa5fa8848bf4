"""Projection and prediction heads with the papers' sizes, as subclasses of Lightly's heads."""

from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead, ProjectionHead
from torch import nn

from imsvd_plugins.checks import check_integer


class IMSVDProjectionHead(ProjectionHead):
    """Projector of IMSVD (Niu, Xia, Shan, Wang, arXiv 2501.03469): linear with bias, BN, ReLU; the last linear only.

    Maps features ``(N, input_dim)`` to logits ``(N, output_dim)``, which :class:`~imsvd_plugins.losses.IMSVDLoss` reads
    as ``output_dim / num_bins`` variables of ``num_bins`` bins. The defaults are the paper's for ResNet-50 on ImageNet
    (80 bins). For ResNet-18 on CIFAR-10 (32 bins) use ``IMSVDProjectionHead(512, 1024, 1024, num_layers=3)``.

    Args:
        input_dim: Dimension of the backbone's features.
        hidden_dim: Width of the hidden layers.
        output_dim: Number of logits ``D``, a multiple of the loss's ``num_bins``.
        num_layers: Number of linear layers, at least 2.

    Raises:
        TypeError: If ``num_layers`` is not an integer.
        ValueError: If ``num_layers`` is below 2.
    """

    def __init__(
        self, input_dim: int = 2048, hidden_dim: int = 8192, output_dim: int = 8160, num_layers: int = 2
    ) -> None:
        check_integer("num_layers", num_layers, minimum=2)
        widths = [input_dim] + [hidden_dim] * (num_layers - 1)
        hidden = [(fan_in, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU(), True) for fan_in in widths[:-1]]
        super().__init__([*hidden, (hidden_dim, output_dim, None, None, False)])


class HSICProjectionHead(BYOLProjectionHead):
    """Projector of SSL-HSIC (Li et al., NeurIPS 2021, arXiv 2106.08320), which is BYOL's: 2048 to 4096 to 256."""


class HSICPredictionHead(BYOLPredictionHead):
    """Predictor of SSL-HSIC (Li et al., NeurIPS 2021, arXiv 2106.08320), which is BYOL's: 256 to 4096 to 256."""
