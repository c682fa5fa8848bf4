"""The forward pass of views, with readable errors."""

import torch
from torch import Tensor

from imsvd_plugins.explain.encoder import Encoder


@torch.no_grad()
def forward(encoder: Encoder, views: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features ``(N, d)`` and projections ``(N, D)`` of views ``(N, C, H, W)``; None without a projector.

    Raises:
        ValueError: If they do not fit the network or its device.
    """
    try:
        found: tuple[Tensor, Tensor | None] = encoder(views.to(encoder.device))
    except torch.OutOfMemoryError as error:
        raise ValueError(f"{len(views)} images at a time do not fit the device: lower --batch-size.") from error
    except (AssertionError, RuntimeError) as error:
        # Layers raise these for images that they were not made for.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"the network does not take images of {tuple(views.shape[1:])}: {reason}. Give another --size."
        ) from error
    return found
