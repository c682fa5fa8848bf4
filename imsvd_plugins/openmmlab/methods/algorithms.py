"""The two methods as mmpretrain algorithms."""

import inspect
from typing import Any

import torch
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.models.utils import CosineEMA
from torch import Tensor, nn

from imsvd_plugins.checks import check_integer
from imsvd_plugins.functional.multi_crop import largest_views
from imsvd_plugins.openmmlab.errors import ConfigTypeError, ConfigValueError, as_config_errors
from imsvd_plugins.openmmlab.methods.building import build, class_of, output_width
from imsvd_plugins.openmmlab.methods.heads import HSICHead, IMSVDHead
from imsvd_plugins.training.chunks import in_chunks

_STAGES = ("backbone", "neck")


class SiameseAlgorithm(BaseSelfSupervisor):
    """Passes several views of each image through one backbone and projector (the neck)."""

    head_class: type[nn.Module]

    def __init__(
        self,
        backbone: dict[str, Any] | None = None,
        neck: dict[str, Any] | None = None,
        head: dict[str, Any] | None = None,
        pretrained: str | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        chunk_size: int | None = None,
        **unknown: Any,
    ) -> None:
        name = type(self).__name__
        if unknown:
            settings = [key for key in inspect.signature(type(self)).parameters if key != "unknown"]
            raise ConfigTypeError(
                f"model.{next(iter(unknown))} is no setting of {name}; its settings are {', '.join(settings)}."
            )
        if backbone is None:
            raise ConfigValueError(f"model.backbone must be given for {name}, such as dict(type='ResNet', depth=50).")
        if neck is None:
            raise ConfigValueError(
                f"model.neck, the projector, must be given for {name}, such as dict(type='NonLinearNeck', ...)."
            )
        if head is None:
            raise ConfigValueError(
                f"model.head must be given for {name}: dict(type='imsvd_plugins.{self.head_class.__name__}', ...)."
            )
        if chunk_size is not None:
            with as_config_errors():
                check_integer("model.chunk_size", chunk_size, minimum=1)
        # Checked before it is built: otherwise another head's settings would fail first, without naming the cause.
        found = type(head) if isinstance(head, nn.Module) else class_of(head)
        if found is not None and not issubclass(found, self.head_class):
            raise ConfigValueError(
                f"model.head of {name} must be an imsvd_plugins.{self.head_class.__name__} or a subclass of it, "
                f"got {found.__name__}."
            )
        super().__init__(
            backbone=_part("model.backbone", backbone),
            neck=_part("model.neck", neck),
            head=_part("model.head", head, f"imsvd_plugins.{self.head_class.__name__}"),
            pretrained=pretrained,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if width := output_width(neck, self.neck):
            self.head.check_width(width)
        self.chunk_size = chunk_size

    def extract_feat(self, inputs: Tensor, stage: str = "backbone") -> tuple[Tensor, ...]:
        """Features of images ``(N, C, H, W)``, a tuple as mmpretrain's backbones and necks give it.

        Args:
            inputs: The images.
            stage: After which part, "backbone" or "neck".

        Raises:
            ValueError: If there is no such stage.
        """
        if stage not in _STAGES:
            raise ValueError(f"stage must be one of {_STAGES}, got {stage!r}.")
        features: tuple[Tensor, ...] = self.backbone(inputs)
        return features if stage == "backbone" else self.neck(features)

    def _projections(self, views: list[Tensor]) -> list[Tensor]:
        def project(view: Tensor) -> Tensor:
            projections: Tensor = self.neck(self.backbone(view))[0]
            return projections

        return [in_chunks(project, view, self.chunk_size, (self.backbone, self.neck)) for view in views]

    def _check_views(self, views: list[Tensor]) -> None:
        if not isinstance(views, list) or len(views) < 2:
            got = len(views) if isinstance(views, list) else f"a {type(views).__name__}"
            raise ConfigValueError(
                f"{type(self).__name__} needs two or more views, got {got}: see num_views of the MultiView transform "
                "in train_dataloader.dataset.pipeline, and train_dataloader.collate_fn, which must be default_collate."
            )


def _part(key: str, part: dict[str, Any] | nn.Module, *known: str) -> nn.Module:
    """Build a part of the model; it may be a module already, as for mmpretrain's own algorithms."""
    module: nn.Module = part if isinstance(part, nn.Module) else build(key, part, known=known)
    return module


class IMSVD(SiameseAlgorithm):
    """IMSVD (Niu et al., arXiv 2501.03469): two or more views, one network, no target network.

    NaN or infinite images, loss or terms stop the training, unless the head's ``check_finite`` is False.

    Args:
        backbone: Config of the backbone.
        neck: Config of the projector. Its outputs are the latent variables; their number is a multiple of the loss's
            ``num_bins``.
        head: Config of an :class:`~imsvd_plugins.openmmlab.IMSVDHead`.
        pretrained: As for mmpretrain's ``BaseSelfSupervisor``.
        data_preprocessor: As for mmpretrain's ``BaseSelfSupervisor``.
        init_cfg: As for mmpretrain's ``BaseSelfSupervisor``.
        chunk_size: Images that pass the networks at a time; None for the whole batch. The loss is that of the whole
            batch, with its exact gradient, in the memory of one chunk: see
            :func:`~imsvd_plugins.training.chunks.in_chunks`.

    Raises:
        TypeError: If a part is not a config, or a setting is unknown or has the wrong type.
        ValueError: If a part is missing, unknown or has a wrong setting, if the head has another class, or if the
            number of the neck's outputs is not a multiple of ``num_bins``.
    """

    head_class = IMSVDHead

    def loss(self, inputs: list[Tensor], data_samples: list[Any], **kwargs: Any) -> dict[str, Tensor]:
        """The loss and its terms, by name, of two or more views ``(N, C, H, W)``, which may differ in size."""
        self._check_views(inputs)
        terms: dict[str, Tensor] = self.head.components(*self._projections(inputs))
        self.head.watch("images", inputs, terms)
        return terms


class SSLHSIC(SiameseAlgorithm):
    """SSL-HSIC (Li et al., NeurIPS 2021, arXiv 2106.08320), with or without a target network.

    With a target network, the objective takes four views: the online network's predictions of two views and the target
    network's projections of them, which get no gradient. With a multi-crop, which extends the paper, it takes the
    predictions of all views and the target projections of the largest views only, so that no small crop is a target.
    Without a target network, it takes the projections of two or more views. NaN or infinite images, loss or terms stop
    the training, unless the head's ``check_finite`` is False.

    Args:
        backbone: Config of the backbone.
        neck: Config of the projector.
        head: Config of an :class:`~imsvd_plugins.openmmlab.HSICHead`, with the predictor in it.
        base_momentum: Initial momentum of the target network's moving average, in mmpretrain's sense: the share of the
            *new* weights, which falls to 0 by cosine. So 0.01 is the paper's 0.99. None for no target network.
        pretrained: As for mmpretrain's ``BaseSelfSupervisor``.
        data_preprocessor: As for mmpretrain's ``BaseSelfSupervisor``.
        init_cfg: As for mmpretrain's ``BaseSelfSupervisor``.
        chunk_size: As for :class:`~imsvd_plugins.openmmlab.IMSVD`.

    Raises:
        TypeError: If a part is not a config, or a setting is unknown or has the wrong type.
        ValueError: If a part is missing, unknown or has a wrong setting, if the head has another class, if its
            predictor does not fit the neck, or if ``base_momentum`` is not in (0, 1).
    """

    head_class = HSICHead

    def __init__(
        self,
        backbone: dict[str, Any] | None = None,
        neck: dict[str, Any] | None = None,
        head: dict[str, Any] | None = None,
        base_momentum: float | None = 0.01,
        pretrained: str | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        chunk_size: int | None = None,
        **unknown: Any,
    ) -> None:
        if base_momentum is not None and not 0 < base_momentum < 1:
            raise ConfigValueError(
                f"model.base_momentum must be None or in (0, 1), and 0.01 is the paper's 0.99; got {base_momentum!r}."
            )
        super().__init__(backbone, neck, head, pretrained, data_preprocessor, init_cfg, chunk_size, **unknown)
        self.target_net: CosineEMA | None = None
        if base_momentum is not None:
            self.target_net = CosineEMA(nn.Sequential(self.backbone, self.neck), momentum=base_momentum)

    def loss(self, inputs: list[Tensor], data_samples: list[Any], **kwargs: Any) -> dict[str, Tensor]:
        """The loss and its terms, by name, of the views ``(N, C, H, W)``."""
        self._check_views(inputs)
        targets = [] if self.target_net is None else self._target_projections(self.target_net, largest_views(inputs))
        projections = self._projections(inputs)
        terms: dict[str, Tensor] = self.head.components(*projections, targets=targets, chunk_size=self.chunk_size)
        self.head.watch("images", inputs, terms)
        return terms

    @torch.no_grad()
    def _target_projections(self, target_net: CosineEMA, views: list[Tensor]) -> list[Tensor]:
        # As in mmpretrain's BYOL, the average is updated with the last step's weights just before it is needed.
        target_net.update_parameters(nn.Sequential(self.backbone, self.neck))
        return [in_chunks(lambda view: target_net(view)[0], view, self.chunk_size, (target_net,)) for view in views]
