"""The losses as modules: settings and state around :mod:`imsvd_plugins.functional`."""

from imsvd_plugins.losses.bins import TooManyBinsWarning
from imsvd_plugins.losses.hsic import HSICLoss
from imsvd_plugins.losses.imsvd import IMSVDLoss

__all__ = ["HSICLoss", "IMSVDLoss", "TooManyBinsWarning"]
