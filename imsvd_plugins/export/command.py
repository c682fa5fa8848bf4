"""The subcommand `export`; torch is imported only when it runs."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imsvd_plugins.export import FORMATS

if TYPE_CHECKING:
    from imsvd_plugins.export.checkpoint import Backbone
    from imsvd_plugins.export.resnet import ResNet
    from imsvd_plugins.export.vit import ViT


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    export = commands.add_parser(
        "export",
        help="take the backbone out of a checkpoint, as weights for another library",
        description="Take the backbone out of a checkpoint of mmengine's or Lightning's, or a saved state dict, and "
        "write it as weights that another library loads: a ResNet or a vision transformer, and for mmpretrain "
        "whatever was trained there. With averaged weights in the checkpoint, these. Nothing in the file is run.",
    )
    export.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="the file of the checkpoint")
    export.add_argument("--format", choices=FORMATS, required=True, help="the library that is to load the weights")
    export.add_argument(
        "--output", metavar="FILE", type=Path, help="default: CHECKPOINT's name with _backbone_FORMAT.pth, beside it"
    )
    export.add_argument("--force", action="store_true", help="replace FILE if it exists")


def run(arguments: argparse.Namespace) -> int:
    """Check everything, then write the weights and print how to load them.

    Returns:
        The exit status, 0.

    Raises:
        ValueError: If the checkpoint, its backbone or the output does not do.
    """
    checkpoint: Path = arguments.checkpoint
    output: Path = arguments.output or checkpoint.with_name(f"{checkpoint.stem}_backbone_{arguments.format}.pth")
    if output.is_dir() or not output.parent.is_dir():
        raise ValueError(f"--output must be a file in an existing folder, got {str(output)!r}.")
    if output.exists() and not arguments.force:
        raise ValueError(f"{output} exists: give another --output, or --force to replace it.")

    from imsvd_plugins.export.checkpoint import read_backbone  # noqa: PLC0415

    backbone = read_backbone(checkpoint)
    if arguments.format == "mmpretrain" and backbone.host == "mmengine":
        # It stays in its library, so it may be any network.
        name, note, code = backbone.config.get("type", "backbone"), "", _config(backbone.config, str(output))
        weights = backbone.weights
    else:
        network = _recognise(backbone, checkpoint)
        name, note, code = network.name, network.note, network.code(arguments.format, str(output))
        weights = network.weights(arguments.format)
    content: dict[str, Any] = {name: tensor.detach().clone() for name, tensor in weights.items()}
    if arguments.format == "mmpretrain":
        content = {"state_dict": {f"backbone.{name}": tensor for name, tensor in content.items()}}
    _write(content, output)
    averaged = ", averaged weights" if backbone.averaged else ""
    print(f"Wrote {output}: {len(weights)} tensors, {name} ({backbone.host} checkpoint{averaged}). To load them:")
    print(f"  {code}")
    if note:
        print(note)
    return 0


def _recognise(backbone: "Backbone", checkpoint: Path) -> "ResNet | ViT":
    from imsvd_plugins.export.resnet import find_resnet  # noqa: PLC0415
    from imsvd_plugins.export.vit import find_vit  # noqa: PLC0415

    try:
        network = find_resnet(*backbone[:2]) or find_vit(*backbone[:2])
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}") from None
    if network is None:
        tensors = [f"{name} {tuple(tensor.shape)}" for name, tensor in backbone.weights.items()]
        raise ValueError(
            f"{checkpoint}: the backbone must be a ResNet or a vision transformer, "
            f"got {len(tensors)} tensors: {', '.join(tensors[:3])}, ..."
        )
    return network


def _config(config: dict[str, Any], file: str) -> str:
    settings = [f"{name}={value!r}" for name, value in config.items() if name != "init_cfg"]
    pretrained = f"init_cfg=dict(type='Pretrained', checkpoint={file!r}, prefix='backbone.')"
    return f"backbone=dict({', '.join([*(settings or ['...']), pretrained])})"


def _write(content: dict[str, Any], output: Path) -> None:
    """Write a file that is whole or is not there."""
    import torch  # noqa: PLC0415

    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        torch.save(content, part)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
