"""Choosing the layer of a network for Grad-CAM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def find_cam_layer(backbone: nn.Module, pool: Callable[[Any], Tensor], images: Tensor) -> nn.Module | None:
    """Find the last layer with spatial positions whose output affects the features from more than one position.

    In a network that pools over positions, that is its last layer before the pooling. In a vision transformer that
    reads only its class token, the last block's other tokens have no effect; there it is a layer before the last
    attention.

    Args:
        backbone: The network.
        pool: From its output to features ``(N, d)``.
        images: Images ``(N, C, H, W)`` to run it on.

    Returns:
        A layer that gives maps ``(N, C, H, W)`` or tokens ``(N, L, C)``; None if there is none.
    """
    seen: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad and _has_places(output):
            seen.append((module, output))

    hooks = [module.register_forward_hook(keep) for module in backbone.modules() if module is not backbone]
    try:
        with torch.enable_grad():
            features = pool(backbone(images.detach().requires_grad_()))
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        return None
    gradients = torch.autograd.grad(features.square().sum(), [output for _, output in seen], allow_unused=True)
    width = features.shape[1]
    reaching = [
        (module, output)
        for (module, output), gradient in zip(seen, gradients, strict=True)
        if gradient is not None and _places(gradient).abs().sum(dim=-1).count_nonzero() > 1
    ]
    # Attention between a transformer's tokens has outputs that look like maps but are not: their width differs.
    of_width = [module for module, output in reaching if output.shape[1 if output.ndim == 4 else 2] == width]
    maps = [module for module, output in reaching if output.ndim == 4]
    return next(reversed(of_width or maps), None)


def _has_places(output: Tensor) -> bool:
    if output.ndim == 4:
        return output.shape[2] * output.shape[3] > 1
    return output.ndim == 3 and output.shape[1] > 1


def _places(output: Tensor) -> Tensor:
    """Maps or tokens as ``(N, L, C)``."""
    return output.flatten(start_dim=2).transpose(1, 2) if output.ndim == 4 else output
