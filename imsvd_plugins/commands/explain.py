"""The subcommand `explain`; torch is imported only when it runs."""

import argparse
from pathlib import Path
from typing import Any

from imsvd_plugins._terminal import not_negative, positive
from imsvd_plugins.commands.embed import add_encoder_options, load_from, report_left_out


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    explain = commands.add_parser(
        "explain",
        help="see what each variable of a trained network means, on your images",
        description="Look at what the network of a checkpoint of mmengine's or Lightning's learned, and write a folder "
        "with index.html, a page that opens from disk, figures (PNG) and all numbers (report.json, report.npz). For "
        "IMSVD it shows each variable and each of its bins by the images in it; for every method the representation. "
        "Nothing in the checkpoint is run. Images that cannot be read are skipped and named.",
    )
    explain.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="the report's folder, a new one")
    explain.add_argument("--force", action="store_true", help="replace FOLDER if it holds a report")
    explain.add_argument("--title", default="", help="of the page (default: the method and the images)")
    explain.add_argument(
        "--attributions",
        metavar="N",
        type=not_negative,
        default=64,
        help="images and bins whose evidence is located in the image (default: %(default)s)",
    )
    explain.add_argument(
        "--thumbnails",
        metavar="N",
        type=positive,
        default=3000,
        help="images that the page shows at most; the numbers are of all (default: %(default)s)",
    )
    explain.add_argument(
        "--seed", metavar="N", type=not_negative, default=0, help="of views, samples and tests (default: %(default)s)"
    )
    add_encoder_options(explain)


def run(arguments: argparse.Namespace) -> int:
    """Check everything, then write the report.

    Returns:
        The exit status, 0.

    Raises:
        ValueError: If the checkpoint, the images or the output is unusable.
    """
    out: Path = arguments.out

    from imsvd_plugins.explain.images import open_images  # noqa: PLC0415
    from imsvd_plugins.explain.whole_folder import check_folder, is_report  # noqa: PLC0415

    try:
        check_folder(out)
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    if is_report(out) and not arguments.force:
        raise ValueError(f"{out} holds a report: give another --out, or --force to replace it.")

    images = None
    if not _holds_arrays(arguments.images):
        images = open_images(arguments.images)
    encoder = load_from(arguments)
    if encoder.arrays is not None:
        raise ValueError(
            f"{arguments.checkpoint}: explain shows images in RGB, and this network takes arrays of "
            f"{encoder.arrays.channels} channel(s); `imsvd-plugins embed` writes their features and codes."
        )
    if images is None:
        images = open_images(arguments.images)
    # Imported only now: captum, scikit-learn and matplotlib are slow, and wrong arguments should fail fast.
    from imsvd_plugins.explain import explain, write_report  # noqa: PLC0415

    report = explain(
        encoder,
        images,
        title=arguments.title,
        checkpoint=str(arguments.checkpoint),
        attributions=arguments.attributions,
        batch_size=arguments.batch_size,
        num_workers=arguments.workers,
        seed=arguments.seed,
    )
    try:
        page = write_report(report, images, out, max_thumbnails=arguments.thumbnails)
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror or error}.") from error
    print(f"Wrote {out}: {len(report.names)} images ({report.method}). To see it, open")
    print(f"  {page.absolute().as_uri()}")
    numbers = {name: index for index, name in enumerate(images.names)}
    report_left_out(images, [(numbers[name], reason) for name, reason in report.skipped])
    return 0


def _holds_arrays(images: str) -> bool:
    """Whether IMAGES is a folder with arrays: only the checkpoint tells what is wrong with them."""
    from imsvd_plugins.data.array_files import find_array_files  # noqa: PLC0415

    return Path(images).is_dir() and bool(find_array_files(images)[0])
