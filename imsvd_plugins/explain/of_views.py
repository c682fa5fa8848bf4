"""The figure of a network's progress during training, from two views of training images."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from imsvd_plugins.explain.figures import draw_overview, draw_representation
from imsvd_plugins.explain.representation import FeatureStatistics, describe_representation
from imsvd_plugins.explain.variables import VariableStatistics, describe_variables
from imsvd_plugins.losses import HSICLoss, IMSVDLoss


@torch.no_grad()
def draw_views(
    features: Tensor, z_a: Tensor, z_b: Tensor, criterion: IMSVDLoss | HSICLoss | None, title: str = ""
) -> Figure:
    """Draw IMSVD's variables or, for other losses, the features, from two views of the same images.

    The computation runs on the CPU, because the joint matrix would take GPU memory that a training may need.

    Args:
        features: The backbone's features ``(N, d)`` of the first view, N >= 2.
        z_a: Projector output ``(N, D)`` of that view.
        z_b: Projector output of the other view.
        criterion: The loss; None for a loss of another kind.
        title: The title of the figure of IMSVD's variables.

    Returns:
        The figure of :func:`draw_overview` or :func:`draw_representation`, which has no pyplot window.
    """
    features, z_a, z_b = (x.float().cpu() for x in (features, z_a, z_b))
    if isinstance(criterion, IMSVDLoss):
        variables = VariableStatistics(criterion.num_bins, len(z_a), criterion.temperature)
        variables.update(z_a, z_b, z_a)
        rng = np.random.default_rng(0)
        return draw_overview(describe_variables(variables, None, np.arange(len(z_a)), shuffles=1, rng=rng), title)
    statistics = FeatureStatistics(sample=len(features))
    statistics.update(features, z_a, z_b, z_a, torch.arange(len(features)))
    description = describe_representation(statistics, np.arange(len(features)), None, [], None, criterion)
    return draw_representation(description)
