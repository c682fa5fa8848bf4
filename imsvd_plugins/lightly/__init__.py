"""The Lightly adapter: losses, heads, transforms and LightningModules in Lightly's conventions.

Example:
    >>> from imsvd_plugins.lightly import IMSVDLoss, IMSVDProjectionHead, IMSVDTransform
"""

from imsvd_plugins.extras import missing_extra

try:
    import lightly as _lightly  # noqa: F401
    import pytorch_lightning as _pytorch_lightning  # noqa: F401
except ModuleNotFoundError as error:
    # Any other missing module is a different fault and must not be blamed on the host.
    if error.name not in ("lightly", "pytorch_lightning"):
        raise
    raise missing_extra("imsvd_plugins.lightly", error.name, "lightly") from error

from imsvd_plugins.lightly.callbacks import JointDistributionCallback, RepresentationCallback
from imsvd_plugins.lightly.heads import HSICPredictionHead, HSICProjectionHead, IMSVDProjectionHead
from imsvd_plugins.lightly.knn import KNNCallback
from imsvd_plugins.lightly.modules import IMSVD, METHODS, SSLHSIC
from imsvd_plugins.lightly.transforms import ChannelViewTransform, HSICTransform, IMSVDTransform
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

__all__ = [
    "IMSVD",
    "METHODS",
    "SSLHSIC",
    "ChannelViewTransform",
    "HSICLoss",
    "HSICPredictionHead",
    "HSICProjectionHead",
    "HSICTransform",
    "IMSVDLoss",
    "IMSVDProjectionHead",
    "IMSVDTransform",
    "JointDistributionCallback",
    "KNNCallback",
    "RepresentationCallback",
]
