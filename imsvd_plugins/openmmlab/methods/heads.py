"""The objectives as heads, in the manner of mmpretrain's latent heads: ``loss(z_a, z_b)`` gives a scalar."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch.distributed as dist
from mmengine.model import BaseModule
from torch import Tensor, nn

from imsvd_plugins import plugins
from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.methods.building import build, class_of
from imsvd_plugins.openmmlab.methods.finite import RunWatch
from imsvd_plugins.openmmlab.methods.step_terms import log_terms
from imsvd_plugins.training.chunks import in_chunks


class ObjectiveHead(BaseModule):
    """What the two heads share: the loss module and its terms.

    Args:
        loss: Config of the loss. One of this package's losses is of the global batch (``gather_distributed=True``)
            unless the config says otherwise, as OpenMMLab's own losses are.
        init_cfg: As for mmengine's ``BaseModule``.
        check_finite: Whether NaN or infinite images, loss or terms stop the training with a
            :class:`~imsvd_plugins.training.finite.NonFiniteError`, at most 50 iterations later and before an
            epoch's checkpoint. In mmpretrain's own algorithms the projections stand for the images.

    Raises:
        TypeError: If ``loss`` is no config, or a setting in it has the wrong type.
        ValueError: If a setting in it is wrong, or it is the loss of the other head.
    """

    loss_class: ClassVar[type[nn.Module]]
    foreign_loss_class: ClassVar[type[nn.Module]]

    def __init__(self, loss: dict[str, Any], init_cfg: dict[str, Any] | None = None, check_finite: bool = True) -> None:
        super().__init__(init_cfg=init_cfg)
        name = f"imsvd_plugins.{self.loss_class.__name__}"
        # Before it is built: left with the other's settings it would fail for them.
        found = class_of(loss)
        if found is not None and issubclass(found, self.foreign_loss_class):
            raise ConfigValueError(
                f"model.head.loss of {type(self).__name__} must be an {name} or another package's loss of projections, "
                f"got {found.__name__}."
            )
        self.loss_module: Any = build("model.head.loss", loss, known=[name])
        if isinstance(self.loss_module, IMSVDLoss | HSICLoss) and "gather_distributed" not in loss:
            # Some builds of torch have nothing to gather with, and then there is one process.
            self.loss_module.gather_distributed = dist.is_available()
        self._watch = RunWatch() if check_finite else None

    def loss(self, *z_views: Tensor) -> Tensor:
        """The loss of two views' projections ``(N, D)``, a scalar, as mmpretrain's own algorithms call it.

        These return nothing but the loss, so the head logs its terms itself, in the training of an mmengine runner.

        Raises:
            ValueError: If an algorithm passes something else than two views' projections.
        """
        self._check_projections(z_views)
        terms = self._terms_of_pair(*z_views)
        self.watch("projections", list(z_views), terms)
        loss = terms.pop("loss")
        log_terms(terms)
        return loss

    def forward(self, *inputs: Any) -> Tensor:
        """The loss: SparK calls its head as a module, and is told that this one does not fit."""
        return self.loss(*inputs)

    def watch(self, name: str, inputs: list[Tensor], terms: dict[str, Tensor]) -> None:
        """Stop the training if this or an earlier step's inputs, of that name, or terms were NaN or infinite."""
        if self._watch is not None and self.training:
            self._watch(name, inputs, terms)

    def components(self, *z_views: Tensor) -> dict[str, Tensor]:
        """The loss, under "loss", and its terms by name (as far as the loss tells them), of all views' ``(N, D)``."""
        if not hasattr(self.loss_module, "forward_components"):
            return {"loss": self.loss_module(*z_views)}
        terms: dict[str, Tensor] = self.loss_module.forward_components(*z_views)._asdict()
        return terms

    def _terms_of_pair(self, z_a: Tensor, z_b: Tensor) -> dict[str, Tensor]:
        return self.components(z_a, z_b)

    def _check_projections(self, inputs: Sequence[Any]) -> None:
        if len(inputs) == 2 and all(isinstance(z, Tensor) and z.ndim == 2 for z in inputs):
            if inputs[0].shape == inputs[1].shape:
                return
            reason = "SimCLR, MoCo and DenseCL pass similarities"
        else:
            reason = "SwAV and the masked-image algorithms call their heads with other arguments"
        got = " and ".join(str(tuple(z.shape)) if isinstance(z, Tensor) else f"a {type(z).__name__}" for z in inputs)
        raise ConfigValueError(
            f"model.head: {type(self).__name__} takes two views' projections of one shape (N, D), got {got}. {reason}; "
            "model.type must be BarlowTwins, SimSiam, BYOL, MoCoV3 or an algorithm of imsvd_plugins."
        )


class IMSVDHead(ObjectiveHead):
    """IMSVD of two views' projections; it replaces the head of mmpretrain's ``BarlowTwins`` as it stands.

    Args:
        loss: Config of the loss, such as ``dict(type='imsvd_plugins.IMSVDLoss', num_bins=80)``.
        init_cfg: As for mmengine's ``BaseModule``.
        check_finite: Whether NaN or infinite images, loss or terms stop the training with a
            :class:`~imsvd_plugins.training.finite.NonFiniteError`, at most 50 iterations later and before an
            epoch's checkpoint. In mmpretrain's own algorithms the projections stand for the images.

    Raises:
        TypeError: If ``loss`` is no config, or a setting in it has the wrong type.
        ValueError: If a setting in it is wrong, or it is the loss of the other head.
    """

    loss_class = IMSVDLoss
    foreign_loss_class = HSICLoss

    def components(self, *z_views: Tensor) -> dict[str, Tensor]:
        """The loss and its terms; raises a ValueError if the variables do not fit into the projections."""
        # An algorithm other than IMSVD has not checked it when the model was built.
        self.check_width(z_views[0].shape[-1])
        return super().components(*z_views)

    def check_width(self, width: int) -> None:
        """Raise a ValueError if projections of this width ``D`` are not so many variables of ``num_bins`` bins."""
        num_bins = getattr(self.loss_module, "num_bins", 1)
        if width % num_bins != 0:
            below = width // num_bins
            nearest = " or ".join(str(num_bins * count) for count in sorted({max(below, 2), max(below + 1, 2)}))
            raise ConfigValueError(
                f"model.neck.out_channels must be a multiple of model.head.loss.num_bins ({num_bins}), "
                f"such as {nearest}, got {width}."
            )
        if width == num_bins > 1:
            raise ConfigValueError(
                f"model.head.loss.num_bins ({num_bins}) must be smaller than model.neck.out_channels ({width}): "
                "off_diagonal is of pairs of variables, and out_channels / num_bins is only one."
            )


class HSICHead(ObjectiveHead):
    """SSL-HSIC of the views' projections or, with a predictor, of their predictions.

    The projections of a target network, which carry no gradient, do not pass the predictor, in mmpretrain's BYOL and
    MoCoV3 too.

    Args:
        loss: Config of the loss, such as ``dict(type='imsvd_plugins.HSICLoss')``. Its ``kernel`` may be a name or a
            config, such as ``dict(type='imsvd_plugins.GaussianKernel')``.
        predictor: Config of the predictor, as a rule mmpretrain's ``NonLinearNeck``; None for none.
        init_cfg: As for mmengine's ``BaseModule``.
        check_finite: Whether NaN or infinite images, loss or terms stop the training with a
            :class:`~imsvd_plugins.training.finite.NonFiniteError`, at most 50 iterations later and before an
            epoch's checkpoint. In mmpretrain's own algorithms the projections stand for the images.

    Raises:
        TypeError: If ``loss`` or ``predictor`` is no config, or a setting in them has the wrong type.
        ValueError: If a setting in them is wrong, or the loss is the other head's.
    """

    loss_class = HSICLoss
    foreign_loss_class = IMSVDLoss

    def __init__(
        self,
        loss: dict[str, Any],
        predictor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        check_finite: bool = True,
    ) -> None:
        if isinstance(loss, dict) and isinstance(loss.get("kernel"), dict):
            known = [f"imsvd_plugins.{plugin.attr}" for plugin in plugins.available("kernels")]
            loss = {**loss, "kernel": build("model.head.loss.kernel", loss["kernel"], known=known)}
        super().__init__(loss, init_cfg=init_cfg, check_finite=check_finite)
        self.predictor: nn.Module | None = None if predictor is None else build("model.head.predictor", predictor)
        self._predictor_width = predictor.get("in_channels") if isinstance(predictor, dict) else None

    def check_width(self, width: int) -> None:
        """Raise a ValueError if the predictor's config says that it takes projections of another width than this."""
        if self._predictor_width not in (None, width):
            raise ConfigValueError(
                f"model.head.predictor.in_channels must be model.neck.out_channels ({width}), "
                f"got {self._predictor_width}."
            )

    def components(
        self, *z_views: Tensor, targets: Sequence[Tensor] = (), chunk_size: int | None = None
    ) -> dict[str, Tensor]:
        """The loss and its terms.

        Args:
            *z_views: The views' projections ``(N, d)``; they pass the predictor if there is one.
            targets: The target network's projections ``(N, d)``, which do not; further views of the same images.
            chunk_size: Samples that pass the predictor at a time; None for all.

        Returns:
            The loss, under "loss", and its terms by name.
        """
        predictions: Sequence[Tensor] = z_views
        if (predictor := self.predictor) is not None:
            predictions = [in_chunks(lambda z: predictor((z,))[0], z, chunk_size, (predictor,)) for z in z_views]
        terms = super().components(*predictions, *targets)
        if "scale" in terms:
            # Among a training log's other entries "scale" would say little.
            terms["kernel_scale"] = terms.pop("scale")
        return terms

    def _terms_of_pair(self, z_a: Tensor, z_b: Tensor) -> dict[str, Tensor]:
        # The projections of BYOL's and MoCo v3's target networks carry no gradient.
        if z_a.requires_grad and not z_b.requires_grad:
            return self.components(z_a, targets=[z_b])
        return self.components(z_a, z_b)
