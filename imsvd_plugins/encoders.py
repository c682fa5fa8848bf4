"""Loading an encoder from a checkpoint's file, for any host."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imsvd_plugins.export.checkpoint import host_of, read_checkpoint
from imsvd_plugins.export.parts import state_of
from imsvd_plugins.training.input_channels import input_channels

if TYPE_CHECKING:
    from imsvd_plugins.explain.encoder import Encoder


def load_encoder(
    checkpoint: Path,
    *,
    config: str | None = None,
    backbone: str | None = None,
    size: int | None = None,
    device: str | None = None,
) -> "Encoder":
    """Load a trained network and the views of its training. No code that the checkpoint names is run.

    Args:
        checkpoint: mmengine's or Lightning's checkpoint; or the weights that ``export``, ``torch.save`` or safetensors
            wrote, of a backbone or of a model whose attribute ``backbone`` it is.
        config: The training's config, for settings that the checkpoint lacks or may not name: an mmpretrain file, a
            shipped config's name, or a YAML file of ``imsvd-plugins lightly``. It is trusted.
        backbone: ``timm/NAME`` or ``torchvision/NAME``, for a checkpoint that does not identify its backbone.
        size: Side of the plain view in pixels; None for the training's.
        device: The device; None for a GPU if there is one.

    Raises:
        ImportError: If the host that wrote it is not installed, or safetensors for a safetensors file.
        ValueError: If there is no such checkpoint or device, the config does not fit, or the network cannot be
            identified.
    """
    where = _device(device)
    content = read_checkpoint(checkpoint)
    try:
        # Import warnings of OpenMMLab's packages mean nothing to a user of this function.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pkg_resources is deprecated as an API")
            warnings.filterwarnings("ignore", "Fail to import ``MultiScaleDeformableAttention``")
            encoder = _load(content, config, backbone, size)
        _check_channels(encoder)
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}") from error
    return encoder.to(where)


def _load(content: dict[str, Any], config: str | None, backbone: str | None, size: int | None) -> "Encoder":
    host = host_of(content)
    is_yaml = config is not None and config.lower().endswith((".yaml", ".yml"))
    if is_yaml or (host == "Lightning" and config is None):
        from imsvd_plugins.lightly.encoder import load_encoder as of_lightly  # noqa: PLC0415

        return of_lightly(content, config, backbone, size)
    if backbone is not None and config is not None:
        raise ValueError(
            "--backbone is for weights without settings, and --config gives settings: leave one of them out."
        )
    if backbone is None and (config is not None or host == "mmengine"):
        from imsvd_plugins.openmmlab.encoder.loading import load_encoder as of_mmpretrain  # noqa: PLC0415

        return of_mmpretrain(content, config, size)
    from imsvd_plugins.explain.bare_backbone import load_encoder as bare  # noqa: PLC0415

    return bare(state_of(content), backbone, size)


def _check_channels(encoder: "Encoder") -> None:
    """Check that the views have as many channels as the network takes."""
    taken = input_channels(encoder.backbone)
    given = 3 if encoder.arrays is None else encoder.arrays.channels
    if taken not in (None, given):
        raise ValueError(
            f"the network takes {taken} channel(s), and its views give {given}: a training by ArrayFolder or "
            "ArraysDataModule says how its arrays are prepared; give its config by --config."
        )


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"--device must be one of this machine's, such as cpu or cuda, got {name!r}: {reason}"
        ) from error
    return device
