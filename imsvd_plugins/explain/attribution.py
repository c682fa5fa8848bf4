"""Locating the evidence for a bin in an image: integrated gradients and Grad-CAM, by captum."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam
from torch import Tensor, nn

from imsvd_plugins.explain.encoder import Encoder
from imsvd_plugins.explain.images import Images
from imsvd_plugins.explain.report import Attribution

INTEGRATED_GRADIENTS, GRAD_CAM = "integrated gradients", "Grad-CAM"

# If the sum of integrated gradients misses the difference of the outputs by more than this, more steps are taken.
COMPLETENESS = 0.02
_STEPS = (32, 128, 512, 2048)
# Images per forward and backward pass.
_BATCH = 32


class BinEvidence(nn.Module):
    """Log-probability of a bin, the quantity that attributions explain.

    Unlike :func:`~imsvd_plugins.functional.soft_discretize` it has no lower bound, because no gradient flows at one.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if encoder.num_bins is None:
            raise ValueError(f"encoder must have latent variables (num_bins), and its method is {encoder.method}.")
        self.encoder = encoder
        self.num_bins = encoder.num_bins

    def forward(self, images: Tensor, variable: int, bin: int) -> Tensor:
        """Log-probability ``(N,)`` of the bin of the variable in each of the images ``(N, C, H, W)``."""
        z = self.encoder.projections(images)
        if z is None:
            raise ValueError("encoder must have a projector, whose outputs are the variables; it has none.")
        scores = z.reshape(len(z), -1, self.num_bins)[:, variable] / self.encoder.temperature
        evidence: Tensor = scores.log_softmax(dim=1)[:, bin]
        return evidence


def attribute(
    encoder: Encoder, images: Images, choices: Sequence[tuple[int, int, int]], positions: Sequence[int] | None = None
) -> Iterator[Attribution]:
    """Attribute bins to places in images, one attribution at a time.

    Integrated gradients explain the difference between the bin's log-probability for the image and for an image filled
    with the training's mean colour (0 after normalisation). Grad-CAM uses the layer
    :attr:`~imsvd_plugins.explain.encoder.Encoder.cam_layer`; without such a layer it is left out.

    Args:
        encoder: A network with latent variables.
        images: The images.
        choices: ``(image, variable, bin)`` of each attribution.
        positions: Index in ``images`` of each image that ``choices`` number; None if they number all images.

    Yields:
        For each choice the integrated gradients, then Grad-CAM.

    Raises:
        ValueError: If the network has no latent variables.
        UnreadableImageError: If an image cannot be read.
    """
    evidence = BinEvidence(encoder)
    device = next(encoder.parameters()).device
    for image, variable, bin in choices:
        view = encoder.plain(images[image if positions is None else positions[image]]).unsqueeze(0).to(device)
        heat, completeness = integrated_gradients(evidence, view, (variable, bin))
        yield Attribution(image, variable, bin, INTEGRATED_GRADIENTS, heat.cpu().numpy(), completeness)
        cam = grad_cam(evidence, view, (variable, bin))
        if cam is not None:
            yield Attribution(image, variable, bin, GRAD_CAM, cam.cpu().numpy(), math.nan)


def integrated_gradients(evidence: nn.Module, view: Tensor, target: tuple[int, int]) -> tuple[Tensor, float]:
    """Integrated gradients (Sundararajan et al. 2017) from an image of zeros to ``view``.

    Args:
        evidence: ``evidence(images, *target)`` is the output to explain, ``(N,)``.
        view: One image ``(1, C, H, W)``.
        target: Further arguments of ``evidence``.

    Returns:
        ``(H, W)``, signed, summed over the colours; and the relative difference between their sum and the difference of
        outputs. The integral has as many steps as make this at most :data:`COMPLETENESS`, and at most 2048.
    """
    baseline = torch.zeros_like(view)
    with torch.no_grad():
        difference = float(evidence(view, *target) - evidence(baseline, *target))
    method = IntegratedGradients(evidence)
    heat, completeness = baseline[0, 0], math.inf
    for steps in _STEPS:
        found = method.attribute(
            view, baseline, additional_forward_args=target, n_steps=steps, internal_batch_size=_BATCH
        ).detach()
        heat = found[0].sum(dim=0)
        completeness = abs(float(found.double().sum()) - difference) / max(abs(difference), 1e-12)
        if completeness <= COMPLETENESS:
            break
    return heat.float(), completeness


def grad_cam(evidence: BinEvidence, view: Tensor, target: tuple[int, int]) -> Tensor | None:
    """Grad-CAM (Selvaraju et al. 2017) at the encoder's last layer with spatial positions.

    Args:
        evidence: The output to explain.
        view: One image ``(1, C, H, W)``.
        target: Variable and bin.

    Returns:
        ``(H, W)``, at least 0; None if the encoder has no such layer.
    """
    layer = evidence.encoder.cam_layer
    if layer is None:
        return None
    size = view.shape[2:]
    with _seen_as_map(layer, (int(size[0]), int(size[1]))) as places:
        cam = LayerGradCam(evidence, places).attribute(view, additional_forward_args=target, relu_attributions=True)
    enlarged: Tensor = LayerAttribution.interpolate(cam.detach(), tuple(size), "bilinear")
    return enlarged[0, 0].float()


@contextmanager
def _seen_as_map(layer: nn.Module, size: tuple[int, int]) -> Iterator[nn.Module]:
    """Inside, the layer's output passes through the returned module as a map ``(N, C, h, w)``."""
    places = nn.Identity()

    def through(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if output.ndim == 4:
            seen: Tensor = places(output)
            return seen
        # Tokens (N, L, C): those before the patches, such as the class token, have no position.
        height, width = patch_grid(output.shape[1], size)
        others, patches = output.tensor_split([output.shape[1] - height * width], dim=1)
        seen = places(patches.transpose(1, 2).reshape(len(output), -1, height, width))
        return torch.cat([others, seen.flatten(2).transpose(1, 2)], dim=1)

    hook = layer.register_forward_hook(through)
    try:
        yield places
    finally:
        hook.remove()


def patch_grid(tokens: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the patches of an image of a size; there are slightly fewer patches than tokens."""
    height, width = size
    grids = [(height // patch, width // patch) for patch in range(1, min(size) + 1)]
    # The finest grid that fits: the remaining tokens are a class token and registers.
    return next(grid for grid in grids if grid[0] * grid[1] <= tokens)
