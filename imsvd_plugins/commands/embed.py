"""The subcommand `embed`; torch is imported only when it runs."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imsvd_plugins._terminal import counted, not_negative, positive, printable

if TYPE_CHECKING:
    from imsvd_plugins.explain.images import Images


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    embed = commands.add_parser(
        "embed",
        help="write features and codes of your images, by a trained network",
        description="Pass images through the network of a checkpoint of mmengine's or Lightning's, of any method, and "
        "write their features and, for IMSVD, each variable's most probable bin and its probability; for other methods "
        "their projections. Nothing in the checkpoint is run. Images that cannot be read are skipped and named.",
    )
    embed.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="what to write: .npz, or .parquet for other tools"
    )
    embed.add_argument("--force", action="store_true", help="replace FILE if it exists")
    add_encoder_options(embed)


def add_encoder_options(parser: argparse.ArgumentParser) -> None:
    """Add CHECKPOINT, IMAGES and the options of a command that passes images through a checkpoint's network."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=Path,
        help="a checkpoint, or an exported backbone (.pth or .safetensors)",
    )
    parser.add_argument(
        "images",
        metavar="IMAGES",
        help="a folder of images, whose sub-folders are their labels; a packed file (FILE.npz or FILE.npz:test); "
        "digits (or digits:test); for a network that was trained on arrays a folder of them",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the training's config, for what the checkpoint does not tell: mmpretrain's, a shipped config's name, or "
        "a YAML file of `imsvd-plugins lightly`; unlike the checkpoint it is run",
    )
    parser.add_argument(
        "--backbone",
        metavar="LIBRARY/NAME",
        help="for weights without settings: timm/NAME or torchvision/NAME; ResNets and ViTs are known without",
    )
    parser.add_argument(
        "--size", metavar="PIXELS", type=positive, help="resize and crop to this size (default: as in the training)"
    )
    parser.add_argument("--batch-size", metavar="N", type=positive, default=256, help="default: %(default)s")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument(
        "--workers",
        metavar="N",
        type=not_negative,
        default=min(os.cpu_count() or 1, 8),
        help="processes that read images (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Check everything, then write the file.

    Returns:
        The exit status, 0.

    Raises:
        ValueError: If the checkpoint, the images or the output is unusable.
    """
    out: Path = arguments.out
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"--out must be a file in an existing folder, got {str(out)!r}.")
    if out.exists() and not arguments.force:
        raise ValueError(f"{out} exists: give another --out, or --force to replace it.")

    from imsvd_plugins.data.progress import ImageProgress  # noqa: PLC0415
    from imsvd_plugins.explain.embed import embed  # noqa: PLC0415
    from imsvd_plugins.explain.embedding_files import embedding_file  # noqa: PLC0415
    from imsvd_plugins.explain.images import open_images  # noqa: PLC0415

    encoder = load_from(arguments)
    images = open_images(arguments.images, encoder.arrays)
    skipped: list[tuple[int, str]] = []
    shapes: dict[str, int] = {}
    try:
        with embedding_file(out, images) as file, ImageProgress(len(images)) as progress:

            def on_batch(done: int, unreadable: list[tuple[int, str]]) -> None:
                skipped.extend(unreadable)
                progress(done)

            for embedding in embed(
                encoder, images, batch_size=arguments.batch_size, num_workers=arguments.workers, on_batch=on_batch
            ):
                file.write(embedding)
                arrays = embedding._asdict()
                shapes = {name: array.shape[1] for name, array in arrays.items() if hasattr(array, "shape")}
            if not shapes:
                name, reason = images.names[skipped[0][0]], skipped[0][1]
                raise ValueError(f"none of the {len(images)} images can be read; {name!r}: {reason}.")
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror or error}.") from error
    described = [f"{shapes['features']} features"]
    if "bins" in shapes:
        described.append(f"{shapes['bins']} variables of {encoder.num_bins} bins")
    elif "projections" in shapes:
        described.append(f"{shapes['projections']} projections")
    print(f"Wrote {out}: {counted(len(images) - len(skipped), 'image')}, {', '.join(described)} ({encoder.method}).")
    report_left_out(images, skipped)
    return 0


def load_from(arguments: argparse.Namespace) -> Any:
    """The encoder for CHECKPOINT and the options of :func:`add_encoder_options`; its assumptions are printed."""
    from imsvd_plugins.encoders import load_encoder  # noqa: PLC0415

    encoder = load_encoder(
        arguments.checkpoint,
        config=arguments.config,
        backbone=arguments.backbone,
        size=arguments.size,
        device=arguments.device,
    )
    # Printed before the long pass over the images, so that the user can stop if the size is wrong.
    for note in encoder.notes:
        print(note, flush=True)
    return encoder


def report_left_out(images: "Images", skipped: list[tuple[int, str]]) -> None:
    """Name the images that could not be read, and print how many files are not images."""
    if images.ignored:
        kinds = sorted({Path(name).suffix or "no suffix" for name in images.ignored})
        left_out = counted(len(images.ignored), "file")
        print(f"Left out {left_out} without an image's suffix ({printable(', '.join(kinds))}).", file=sys.stderr)
    if skipped:
        print(f"Skipped {len(skipped)} of {counted(len(images), 'image')} that cannot be read:", file=sys.stderr)
        for index, reason in skipped:
            print(f"  {printable(images.names[index])}: {printable(reason)}", file=sys.stderr)
