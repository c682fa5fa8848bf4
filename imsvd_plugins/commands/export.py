"""The subcommand `export`; torch is imported only when it runs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imsvd_plugins.export import FORMATS

if TYPE_CHECKING:
    pass


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    export = commands.add_parser(
        "export",
        help="take the backbone out of a checkpoint, as weights for another library",
        description="Take the backbone out of a checkpoint of mmengine's or Lightning's, or a saved state dict, and "
        "write it as weights that another library loads: a ResNet or a vision transformer; for timm and mmpretrain a "
        "ConvNeXt or a Swin too; for timm whatever its config calls timm's; for mmpretrain whatever was trained there; "
        "and --format torch takes any network, by its own names. With averaged weights in the checkpoint, these. "
        "Nothing in the file is run.",
    )
    export.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="the file of the checkpoint")
    export.add_argument("--format", choices=FORMATS, required=True, help="the library that is to load the weights")
    export.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="a name that ends in .safetensors makes it a file of safetensors, which mmpretrain does not load "
        "(default: CHECKPOINT's name with _backbone_FORMAT.pth, beside it)",
    )
    export.add_argument("--force", action="store_true", help="replace FILE if it exists")


def run(arguments: argparse.Namespace) -> int:
    """Check everything, then write the weights and print how to load them.

    Returns:
        The exit status, 0.

    Raises:
        ImportError: If a file is a safetensors file and safetensors is not installed.
        ValueError: If the checkpoint, its backbone or the output is unusable.
    """
    checkpoint: Path = arguments.checkpoint
    if not checkpoint.is_file():
        found = "a folder" if checkpoint.is_dir() else "absent"
        raise ValueError(f"CHECKPOINT must be a file, and {str(checkpoint)!r} is {found}.")
    output: Path = arguments.output or checkpoint.with_name(f"{checkpoint.stem}_backbone_{arguments.format}.pth")
    if output.is_dir() or not output.parent.is_dir():
        raise ValueError(f"--output must be a file in an existing folder, got {str(output)!r}.")
    if output.exists() and not arguments.force:
        raise ValueError(f"{output} exists: give another --output, or --force to replace it.")

    import torch  # noqa: PLC0415

    from imsvd_plugins.export.checkpoint import read_backbone  # noqa: PLC0415
    from imsvd_plugins.export.files import is_safetensors, safetensors_torch, write_weights  # noqa: PLC0415
    from imsvd_plugins.export.recognise import recognise  # noqa: PLC0415

    if is_safetensors(output):
        if arguments.format == "mmpretrain":
            raise ValueError(f"--output {output}: mmpretrain loads only what torch.save writes: give FILE.pth.")
        safetensors_torch()

    backbone = read_backbone(checkpoint)
    try:
        if arguments.format == "mmpretrain" and backbone.host == "mmengine":
            # It stays in its library, so it may be any network.
            name, note, code = backbone.config.get("type", "backbone"), "", _config(backbone.config, str(output))
            weights = backbone.weights
        else:
            network = recognise(backbone, arguments.format)
            name, note, code = network.name, network.note, network.code(arguments.format, str(output))
            weights = network.weights(arguments.format)
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        # A network's names with impossible tensors or settings: a hand-made file, perhaps a malicious one.
        raise ValueError(f"{checkpoint}: the shapes or settings are no network's ({error}).") from error
    # Each tensor gets its own memory and the usual layout, even if tensors shared memory or the training changed it.
    content: dict[str, Any] = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
    }
    if arguments.format == "mmpretrain":
        content = {"state_dict": {f"backbone.{name}": tensor for name, tensor in content.items()}}
    try:
        write_weights(content, output)
    except OSError as error:
        raise ValueError(f"{output} cannot be written: {error.strerror or error}.") from error
    averaged = ", averaged weights" if backbone.averaged else ""
    print(f"Wrote {output}: {len(weights)} tensors, {name} ({backbone.host} checkpoint{averaged}). To load them:")
    print(f"  {code}")
    if note:
        print(note)
    return 0


def _config(config: dict[str, Any], file: str) -> str:
    from imsvd_plugins.export.settings import arguments  # noqa: PLC0415

    settings = arguments({name: value for name, value in config.items() if name != "init_cfg"})
    pretrained = f"init_cfg=dict(type='Pretrained', checkpoint={file!r}, prefix='backbone.')"
    return f"backbone=dict({', '.join([*(settings or ['...']), pretrained])})"
