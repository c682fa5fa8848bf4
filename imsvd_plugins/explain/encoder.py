"""A trained network, from any host."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from imsvd_plugins.data.array_files import ArrayFormat
from imsvd_plugins.explain.cam_layer import find_cam_layer
from imsvd_plugins.losses import HSICLoss

# From an image to a tensor. Images are Pillow's, in RGB, or arrays (C, H, W).
View = Callable[[Any], Tensor]


class Encoder(nn.Module):
    """A trained network in evaluation mode, on one device, with the views that it takes.

    Its weights take no gradient. Gradients with respect to images are up to the caller: nothing here runs under
    ``torch.no_grad``.

    Args:
        backbone: From images ``(N, C, H, W)`` to the input of ``pool`` and ``projector``.
        projector: From the backbone's output to projections ``(N, D)``; None if there is none.
        pool: From the backbone's output to features ``(N, d)``.
        method: "IMSVD", "SSLHSIC", or another method's name.
        num_bins: Bins ``K`` of IMSVD's variables; None for other methods.
        temperature: Temperature of the softmax over the bins.
        criterion: SSL-HSIC's loss, with the learned scale; None for other methods.
        plain: From an image to the deterministic view for evaluation, ``(C, H, W)``, normalised.
        augment: From an image to a random view as in training, one of the largest size, normalised; for arrays the
            plain one.
        arrays: The format of the arrays that the views take; None if they take images in RGB.
        notes: Assumptions about what the checkpoint does not tell, one sentence each.

    Raises:
        ValueError: If ``num_bins`` or ``temperature``, which come from a checkpoint, are invalid.

    Attributes:
        method: As given.
        num_bins: As given.
        temperature: As given.
        criterion: As given.
        plain: As given.
        augment: As given.
        arrays: As given.
        notes: As given.
    """

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module | None,
        pool: Callable[[Any], Tensor],
        *,
        method: str,
        num_bins: int | None,
        temperature: float,
        plain: View,
        augment: View,
        criterion: HSICLoss | None = None,
        arrays: ArrayFormat | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if num_bins is not None and not (isinstance(num_bins, int) and num_bins >= 2):
            raise ValueError(f"num_bins of the training's settings must be an integer >= 2, got {num_bins!r}.")
        if not (isinstance(temperature, (int, float)) and temperature > 0):
            raise ValueError(f"temperature of the training's settings must be a number > 0, got {temperature!r}.")
        self.backbone = backbone
        self.projector = projector
        self.pool = pool
        self.method = method
        self.num_bins = num_bins
        self.temperature = temperature
        self.criterion = criterion
        self.plain = plain
        self.augment = augment
        self.arrays = arrays
        self.notes = tuple(notes)
        self._shape: torch.Size | None = None
        self._cam_layers: dict[torch.Size, nn.Module | None] = {}
        self.eval()
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features ``(N, d)`` and projections ``(N, D)``, None without a projector, of images ``(N, C, H, W)``."""
        output = self._backbone_output(images)
        return self.pool(output), None if self.projector is None else self.projector(output)

    def features(self, images: Tensor) -> Tensor:
        """Features ``(N, d)`` of images ``(N, C, H, W)``."""
        return self.pool(self._backbone_output(images))

    def projections(self, images: Tensor) -> Tensor | None:
        """Projections ``(N, D)`` of images ``(N, C, H, W)``; None without a projector."""
        return self(images)[1]  # type: ignore[no-any-return]

    def _backbone_output(self, images: Tensor) -> Any:
        self._shape = images.shape[1:]
        return self.backbone(images)

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return next(self.parameters()).device

    @property
    def cam_layer(self) -> nn.Module | None:
        """The last layer with spatial positions, for images of the size of the latest ones.

        Its output is ``(N, C, H, W)`` or, in a transformer, tokens ``(N, L, C)``. None if there is no such layer, or no
        image has passed yet.
        """
        if self._shape is None:
            return None
        if self._shape not in self._cam_layers:
            images = torch.randn(1, *self._shape, generator=torch.Generator().manual_seed(0)).to(self.device)
            self._cam_layers[self._shape] = find_cam_layer(self.backbone, self.pool, images)
        return self._cam_layers[self._shape]
