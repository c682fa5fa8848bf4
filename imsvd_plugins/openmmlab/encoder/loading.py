"""Building an encoder from an mmpretrain checkpoint."""

from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.models.necks import DenseCLNeck, LinearNeck, MoCoV2Neck, NonLinearNeck, SwAVNeck
from torch import Tensor, nn

from imsvd_plugins.explain.encoder import Encoder
from imsvd_plugins.explain.hsic_criterion import hsic_criterion
from imsvd_plugins.export.checkpoint import literal_config
from imsvd_plugins.export.parts import load_weights, part_of, state_of
from imsvd_plugins.openmmlab.encoder.untrusted_config import checked
from imsvd_plugins.openmmlab.encoder.views import array_format, plain_view, random_view
from imsvd_plugins.openmmlab.errors import ConfigError, ConfigValueError
from imsvd_plugins.openmmlab.evaluation.features import pooled
from imsvd_plugins.openmmlab.methods.building import build
from imsvd_plugins.openmmlab.shipped_configs import resolve_config
from imsvd_plugins.registry import MODELS

# The necks that output projections; the others pool, or decode masked images.
_PROJECTORS = (DenseCLNeck, LinearNeck, MoCoV2Neck, NonLinearNeck, SwAVNeck)


def load_encoder(checkpoint: dict[str, Any], config: str | None = None, size: int | None = None) -> Encoder:
    """Build a checkpoint's backbone and neck, and the views of its training.

    Args:
        checkpoint: The result of :func:`~imsvd_plugins.export.checkpoint.read_checkpoint`.
        config: A config's file or a shipped config's name, which is trusted. None for the config in the checkpoint.
            From this only networks and transforms of mmpretrain, mmcv, mmengine and this package are built.
        size: Side in pixels to which the plain view resizes and crops; None for the config's own.

    Raises:
        ConfigError: If the config is invalid or names a type that is not allowed.
        ValueError: If there is no config, or the weights belong to another model.
    """
    cfg = _config(checkpoint, config)
    model = cfg["model"]
    state = state_of(checkpoint)
    backbone = _part("model.backbone", model.get("backbone"))
    load_weights("model.backbone", backbone, part_of(state, "backbone"))
    projector: nn.Module | None = None
    if weights := part_of(state, "neck"):
        neck = _part("model.neck", model.get("neck"))
        if isinstance(neck, _PROJECTORS):
            load_weights("model.neck", neck, weights)
            projector = _FirstOf(neck)
    loss = _loss(model, "IMSVDLoss")
    hsic_loss = _loss(model, "HSICLoss")
    return Encoder(
        backbone,
        projector,
        pooled,
        method=str(model.get("type")).rpartition(".")[2],
        num_bins=None if loss is None or projector is None else loss.get("num_bins", 80),
        temperature=1.0 if loss is None else loss.get("temperature", 1.0),
        criterion=None if hsic_loss is None else hsic_criterion(hsic_loss, part_of(state, "head.loss_module")),
        plain=plain_view(cfg, size, trusted=config is not None),
        augment=random_view(cfg, trusted=config is not None),
        arrays=array_format(cfg),
    )


def _config(checkpoint: dict[str, Any], config: str | None) -> dict[str, Any]:
    """The training's config, after a check that the parts to be built are allowed."""
    init_default_scope("mmpretrain")
    if config is not None:
        cfg: dict[str, Any] = Config.fromfile(resolve_config(config)).to_dict()
    else:
        cfg = literal_config(checkpoint.get("meta"))
    model = cfg.get("model")
    if not isinstance(model, dict):
        where = f"--config {config}" if config else "the checkpoint"
        raise ValueError(f"{where} has no model: give the training's config by --config.")
    preprocessor = {**(cfg.get("data_preprocessor") or {}), **(model.get("data_preprocessor") or {})}
    if config is None:
        model |= {part: checked(MODELS, f"model.{part}", model.get(part)) for part in ("backbone", "neck")}
        preprocessor = checked(MODELS, "data_preprocessor", preprocessor)
    is_classifier = str(model.get("type")).endswith("ImageClassifier")
    kind = "ClsDataPreprocessor" if is_classifier else "SelfSupDataPreprocessor"
    return {**cfg, "model": model, "data_preprocessor": {"type": kind, **preprocessor}}


def _part(key: str, config: Any) -> Any:
    try:
        return build(key, config)
    except ConfigError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # Settings that no network has: a hand-made config, perhaps a malicious one.
        raise ConfigValueError(f"{key}: {config.get('type')} does not take its settings: {error}") from error


def _loss(model: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The settings of the loss, if it is of the named class."""
    head = model.get("head")
    loss = head.get("loss") if isinstance(head, dict) else None
    return loss if isinstance(loss, dict) and str(loss.get("type")).rpartition(".")[2] == name else None


class _FirstOf(nn.Module):
    """A neck's first output, because mmpretrain's necks return tuples."""

    def __init__(self, neck: nn.Module) -> None:
        super().__init__()
        self.neck = neck

    def forward(self, features: Any) -> Tensor:
        projections: Tensor = self.neck(features)[0]
        return projections
