"""The subcommand `demo`; torch is imported only when it runs."""

import argparse
from pathlib import Path
from typing import Any

from imsvd_plugins._terminal import positive


def add_to(commands: Any) -> None:
    """Add the subcommand to a parser."""
    demo = commands.add_parser(
        "demo",
        help="pretrain on scanned digits and compare with random weights",
        description="Pretrain on scikit-learn's scanned digits and compare the representation with random weights'.",
    )
    demo.add_argument(
        "--method", choices=("imsvd", "ssl-hsic"), default="imsvd", help="the objective (default: %(default)s)"
    )
    demo.add_argument(
        "--host", choices=("openmmlab", "lightly"), default="openmmlab", help="what trains (default: %(default)s)"
    )
    demo.add_argument(
        "--work-dir",
        metavar="FOLDER",
        type=Path,
        help="where checkpoint, log and curves go (default: work_dirs/demo_HOST_METHOD)",
    )
    demo.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the work folder")
    demo.add_argument("--epochs", metavar="N", type=positive, help="train shorter than the recipe, for a quick look")


def run(arguments: argparse.Namespace) -> int:
    """Pretrain, evaluate and show.

    Returns:
        The exit status, 0.
    """
    from imsvd_plugins.commands.demo.demo import run as run_demo  # noqa: PLC0415

    work_dir = arguments.work_dir or Path("work_dirs", f"demo_{arguments.host}_{arguments.method}")
    run_demo(arguments.method, arguments.host, work_dir, arguments.resume, arguments.epochs)
    return 0
