"""The mathematics of both objectives, as pure functions of tensors."""

from imsvd_plugins.functional import diagnostics, kernels
from imsvd_plugins.functional.discretization import soft_discretize
from imsvd_plugins.functional.hsic import (
    HSICTerms,
    hsic_exact_zy,
    hsic_exact_zz,
    ssl_hsic_gram_loss,
    ssl_hsic_linear_loss,
    ssl_hsic_loss,
)
from imsvd_plugins.functional.imsvd import IMSVDTerms, imsvd_loss
from imsvd_plugins.functional.random_features import RandomFeatures, sample_random_features

__all__ = [
    "HSICTerms",
    "IMSVDTerms",
    "RandomFeatures",
    "diagnostics",
    "hsic_exact_zy",
    "hsic_exact_zz",
    "imsvd_loss",
    "kernels",
    "sample_random_features",
    "soft_discretize",
    "ssl_hsic_gram_loss",
    "ssl_hsic_linear_loss",
    "ssl_hsic_loss",
]
