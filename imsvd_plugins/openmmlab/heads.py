"""The objectives as heads, in the manner of mmpretrain's latent heads: ``loss(z_a, z_b)`` gives a scalar."""

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from mmengine.model import BaseModule
from torch import Tensor, nn

from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.registry import MODELS


class ObjectiveHead(BaseModule):
    """What the two heads share: the loss module and its terms.

    Args:
        loss: Config of the loss. One of this package's losses is of the global batch (``gather_distributed=True``)
            unless the config says otherwise, as OpenMMLab's own losses are.
        init_cfg: As for mmengine's ``BaseModule``.

    Raises:
        TypeError: If ``loss`` is no config.
    """

    def __init__(self, loss: dict[str, Any], init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if not isinstance(loss, dict):
            raise TypeError(f"model.head.loss must be a config, a dict with a type, got {loss!r}.")
        self.loss_module: Any = MODELS.build(loss)
        if isinstance(self.loss_module, IMSVDLoss | HSICLoss) and "gather_distributed" not in loss:
            # Some builds of torch have nothing to gather with, and then there is one process.
            self.loss_module.gather_distributed = dist.is_available()

    def loss(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The loss of two views' projections ``(N, D)``, a scalar."""
        return self.components(z_a, z_b)["loss"]

    def components(self, *z_views: Tensor) -> dict[str, Tensor]:
        """The loss, under "loss", and its terms by name (as far as the loss tells them), of all views' ``(N, D)``."""
        if not hasattr(self.loss_module, "forward_components"):
            return {"loss": self.loss_module(*z_views)}
        terms: dict[str, Tensor] = self.loss_module.forward_components(*z_views)._asdict()
        return terms


class IMSVDHead(ObjectiveHead):
    """IMSVD of two views' projections; it replaces the head of mmpretrain's ``BarlowTwins`` as it stands.

    Args:
        loss: Config of the loss, such as ``dict(type='imsvd_plugins.IMSVDLoss', num_bins=80)``.
        init_cfg: As for mmengine's ``BaseModule``.

    Raises:
        TypeError: If ``loss`` is no config.
    """

    def components(self, *z_views: Tensor) -> dict[str, Tensor]:
        """The loss and its terms; raises a ValueError if the variables do not fit into the projections."""
        num_bins = getattr(self.loss_module, "num_bins", 1)
        if z_views[0].shape[-1] % num_bins != 0:
            raise ValueError(
                f"model.neck.out_channels must be a multiple of model.head.loss.num_bins ({num_bins}), "
                f"got {z_views[0].shape[-1]}."
            )
        return super().components(*z_views)


class HSICHead(ObjectiveHead):
    """SSL-HSIC of the views' projections or, with a predictor, of their predictions.

    Args:
        loss: Config of the loss, such as ``dict(type='imsvd_plugins.HSICLoss')``. Its ``kernel`` may be a name or a
            config, such as ``dict(type='imsvd_plugins.GaussianKernel')``.
        predictor: Config of the predictor, as a rule mmpretrain's ``NonLinearNeck``; None for none.
        init_cfg: As for mmengine's ``BaseModule``.

    Raises:
        TypeError: If ``loss`` is no config.
    """

    def __init__(
        self,
        loss: dict[str, Any],
        predictor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(loss, dict) and isinstance(loss.get("kernel"), dict):
            loss = {**loss, "kernel": MODELS.build(loss["kernel"])}
        super().__init__(loss, init_cfg=init_cfg)
        self.predictor: nn.Module | None = None if predictor is None else MODELS.build(predictor)

    def components(self, *z_views: Tensor, targets: Sequence[Tensor] = ()) -> dict[str, Tensor]:
        """The loss and its terms.

        Args:
            *z_views: The views' projections ``(N, d)``; they pass the predictor if there is one.
            targets: The target network's projections ``(N, d)``, which do not; further views of the same images.

        Returns:
            The loss, under "loss", and its terms by name.
        """
        predictions = z_views if self.predictor is None else [self.predictor((z,))[0] for z in z_views]
        terms = super().components(*predictions, *targets)
        if "scale" in terms:
            # Among a training log's other entries "scale" would say little.
            terms["kernel_scale"] = terms.pop("scale")
        return terms
