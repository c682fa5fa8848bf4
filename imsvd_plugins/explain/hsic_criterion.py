"""SSL-HSIC's loss from a checkpoint; reports show similarities by its kernel."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from imsvd_plugins.export.parts import load_weights, part_of
from imsvd_plugins.losses import HSICLoss

_SETTINGS = ("num_features", "features", "gamma", "normalize")
_KERNELS = {
    "InverseMultiquadricKernel": "imq",
    "GaussianKernel": "gaussian",
    "LaplacianKernel": "laplacian",
    "LinearKernel": "linear",
}


def hsic_criterion(settings: Mapping[str, Any], state: dict[str, Tensor]) -> HSICLoss | None:
    """Make the loss that a network was trained with, including its learned scale.

    Args:
        settings: The loss's arguments from a config or a checkpoint; the kernel by its name, by its class's name or as
            a config.
        state: The loss's tensors by name; without them the scale is 1.

    Returns:
        The loss; None if its kernel is another package's, because a checkpoint may not import other packages.

    Raises:
        ValueError: If the settings or tensors do not fit such a loss.
    """
    kernel = settings.get("kernel", "imq")
    if isinstance(kernel, Mapping):
        kernel = str(kernel.get("type") or kernel.get("class_path")).rpartition(".")[2]
    kernel = _KERNELS.get(str(kernel), kernel)
    if kernel not in _KERNELS.values():
        return None
    try:
        criterion = HSICLoss(kernel, **{name: settings[name] for name in _SETTINGS if name in settings})
    except TypeError as error:
        raise ValueError(f"the loss does not take its settings: {error}") from error
    if scale := part_of(state, "learned_scale"):
        load_weights("learned_scale", criterion.learned_scale, scale)
    return criterion
