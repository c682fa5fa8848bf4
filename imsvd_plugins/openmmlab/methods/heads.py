"""The objectives as heads with the interface of mmpretrain's latent heads: ``loss(z_a, z_b)`` returns a scalar."""

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
        loss: Config of the loss. This package's losses use the global batch (``gather_distributed=True``) unless the
            config says otherwise, like OpenMMLab's own losses.
        init_cfg: As for mmengine's ``BaseModule``.
        check_finite: As for :class:`~imsvd_plugins.openmmlab.IMSVDHead`.

    Raises:
        TypeError: If ``loss`` is not a config, or a setting in it has the wrong type.
        ValueError: If a setting in it is wrong, or it is the loss of the other head.
    """

    loss_class: ClassVar[type[nn.Module]]
    foreign_loss_class: ClassVar[type[nn.Module]]

    def __init__(self, loss: dict[str, Any], init_cfg: dict[str, Any] | None = None, check_finite: bool = True) -> None:
        super().__init__(init_cfg=init_cfg)
        name = f"imsvd_plugins.{self.loss_class.__name__}"
        # Checked before it is built, because it might first fail on settings meant for this head's own loss.
        found = class_of(loss)
        if found is not None and issubclass(found, self.foreign_loss_class):
            raise ConfigValueError(
                f"model.head.loss of {type(self).__name__} must be an {name} or another package's loss of projections, "
                f"got {found.__name__}."
            )
        self.loss_module: Any = build("model.head.loss", loss, known=[name])
        if isinstance(self.loss_module, IMSVDLoss | HSICLoss) and "gather_distributed" not in loss:
            # Some builds of torch have no torch.distributed; then there is only one process.
            self.loss_module.gather_distributed = dist.is_available()
        self._watch = RunWatch() if check_finite else None

    def loss(self, *z_views: Tensor) -> Tensor:
        """The loss of two views' projections ``(N, D)``, a scalar; mmpretrain's own algorithms call this.

        They return only the loss, so the head logs its terms itself, in the training of an mmengine runner.

        Raises:
            ValueError: If an algorithm passes anything but two views' projections.
        """
        self._check_projections(z_views)
        terms = self._terms_of_pair(*z_views)
        self.watch("projections", list(z_views), terms)
        loss = terms.pop("loss")
        log_terms(terms)
        return loss

    def forward(self, *inputs: Any) -> Tensor:
        """The loss. SparK calls its head as a module, and so gets the error that this one does not fit."""
        return self.loss(*inputs)

    def watch(self, name: str, inputs: list[Tensor], terms: dict[str, Tensor]) -> None:
        """Stop the training if inputs (called ``name``) or terms of this or an earlier step were NaN or infinite."""
        if self._watch is not None and self.training:
            self._watch(name, inputs, terms)

    def components(self, *z_views: Tensor) -> dict[str, Tensor]:
        """The loss of all views ``(N, D)``, under "loss", and its terms by name, if the loss provides them."""
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
    """IMSVD of two views' projections; a drop-in replacement for the head of mmpretrain's ``BarlowTwins``.

    Args:
        loss: Config of the loss, such as ``dict(type='imsvd_plugins.IMSVDLoss', num_bins=80)``.
        init_cfg: As for mmengine's ``BaseModule``.
        check_finite: Whether NaN or infinite images, loss or terms stop the training with a
            :class:`~imsvd_plugins.training.finite.NonFiniteError`, at most 50 iterations later and before an
            epoch's checkpoint. In mmpretrain's own algorithms the projections are checked instead of the images.

    Raises:
        TypeError: If ``loss`` is not a config, or a setting in it has the wrong type.
        ValueError: If a setting in it is wrong, or it is the loss of the other head.
    """

    loss_class = IMSVDLoss
    foreign_loss_class = HSICLoss

    def components(self, *z_views: Tensor) -> dict[str, Tensor]:
        """The loss and its terms; raises a ValueError if the variables do not fit into the projections."""
        # Algorithms other than IMSVD do not check this when the model is built.
        self.check_width(z_views[0].shape[-1])
        return super().components(*z_views)

    def check_width(self, width: int) -> None:
        """Raise a ValueError if projections of this width ``D`` are not several variables of ``num_bins`` bins."""
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

    A target network's projections, which carry no gradient, do not pass the predictor, also in mmpretrain's BYOL and
    MoCoV3.

    Args:
        loss: Config of the loss, such as ``dict(type='imsvd_plugins.HSICLoss')``. Its ``kernel`` may be a name or a
            config, such as ``dict(type='imsvd_plugins.GaussianKernel')``.
        predictor: Config of the predictor, usually mmpretrain's ``NonLinearNeck``; None for no predictor.
        init_cfg: As for mmengine's ``BaseModule``.
        check_finite: As for :class:`~imsvd_plugins.openmmlab.IMSVDHead`.

    Raises:
        TypeError: If ``loss`` or ``predictor`` is not a config, or a setting in them has the wrong type.
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
        """Raise a ValueError if the predictor's config gives another input width."""
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
            targets: The target network's projections ``(N, d)`` of the same images; they do not pass the predictor.
            chunk_size: Samples that pass the predictor at a time; None for all.

        Returns:
            The loss, under "loss", and its terms by name.
        """
        predictions: Sequence[Tensor] = z_views
        if (predictor := self.predictor) is not None:
            predictions = [in_chunks(lambda z: predictor((z,))[0], z, chunk_size, (predictor,)) for z in z_views]
        terms = super().components(*predictions, *targets)
        if "scale" in terms:
            # In a training log the name "scale" would not be clear.
            terms["kernel_scale"] = terms.pop("scale")
        return terms

    def _terms_of_pair(self, z_a: Tensor, z_b: Tensor) -> dict[str, Tensor]:
        # The projections of BYOL's and MoCo v3's target networks carry no gradient.
        if z_a.requires_grad and not z_b.requires_grad:
            return self.components(z_a, targets=[z_b])
        return self.components(z_a, z_b)
