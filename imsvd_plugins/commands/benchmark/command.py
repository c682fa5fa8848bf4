"""The subcommand `benchmark`; torch is imported only when it runs."""

import argparse
import json
from pathlib import Path
from typing import Any

from imsvd_plugins._terminal import positive, print_table
from imsvd_plugins.commands.benchmark.settings import (
    AUTOCAST_DTYPES,
    DEVICES,
    DTYPES,
    LOSSES,
    MATMUL_PRECISIONS,
    Settings,
)


def add_to(commands: Any) -> None:
    """Add the subcommand to a parser."""
    losses = "\n".join(f"  {name:13s} {meaning}" for name, meaning in LOSSES.items())
    benchmark = commands.add_parser(
        "benchmark",
        help="measure what each loss costs: time, memory, FLOPs, bytes sent",
        description="Measure what a step of each loss costs, forward and backward, each in a process of its own:\n"
        f"time, peak memory beyond its inputs, FLOPs counted and bytes sent counted.\n\nlosses:\n{losses}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    given = Settings()
    benchmark.add_argument("losses", nargs="*", metavar="LOSS", help="what to measure (default: all)")
    for name, symbol, meaning, default in (
        ("samples", "N", "samples of the global batch", given.samples),
        ("dim", "D", "outputs of the projector", given.dim),
        ("bins", "K", "bins of a variable, for imsvd", given.bins),
        ("features", "F", "random features, for hsic", given.features),
        ("views", "V", "views, for imsvd, products and hsic; the others take two", given.views),
        ("ranks", "W", "processes that share the batch", given.ranks),
        ("repeats", "n", "steps that are timed", given.repeats),
    ):
        benchmark.add_argument(
            f"--{name}", metavar=symbol, type=positive, default=default, help=f"{meaning} (default: {default})"
        )
    benchmark.add_argument("--threads", metavar="t", type=positive, help="threads of each rank (default: its share)")
    for name, choices, meaning in (
        ("device", DEVICES, "where"),
        ("dtype", DTYPES, "dtype of the inputs"),
        ("autocast", AUTOCAST_DTYPES, "run the losses in autocast to this dtype"),
        ("matmul-precision", MATMUL_PRECISIONS, 'torch\'s float32 matrix products; "high" allows TF32'),
    ):
        default = getattr(given, name.replace("-", "_"))
        benchmark.add_argument(
            f"--{name}", choices=choices, default=default, help=f"{meaning} (default: {default or 'off'})"
        )
    benchmark.add_argument("--reference", metavar="LOSS", help="what the times are divided by (default: products)")
    benchmark.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="write JSON to FILE, or print it instead of the table"
    )
    benchmark.add_argument("--plot", metavar="FILE", type=Path, help="draw time and memory as bars")


def run(arguments: argparse.Namespace) -> int:
    """Check everything, then measure and report.

    Returns:
        The exit status: 1 if a loss failed, else 0.

    Raises:
        ValueError: If an argument is wrong.
        ImportError: If a requested library is not installed.
    """
    import torch  # noqa: PLC0415

    from imsvd_plugins.commands.benchmark import report, runner  # noqa: PLC0415

    threads = arguments.threads or max(1, torch.get_num_threads() // arguments.ranks)
    settings = Settings(
        **{name: getattr(arguments, name) for name in Settings._fields if name != "threads"}, threads=threads
    )
    if arguments.json in LOSSES:
        raise ValueError(f"--json {arguments.json} would be a file: put --json after the losses.")
    losses = runner.choose(arguments.losses)
    reference = arguments.reference or ("products" if "products" in losses else losses[0])
    runner.check_loss("--reference", reference, losses)
    runner.check(losses, settings)
    for option in ("json", "plot"):
        path = Path(getattr(arguments, option) or "-")
        if not path.parent.is_dir():
            raise ValueError(f"--{option}: there is no folder {str(path.parent)!r}.")
    if arguments.plot:
        report.check_plot(arguments.plot)

    results = runner.run(losses, settings)
    if arguments.json:
        text = json.dumps(report.as_json(results, settings, reference), indent=2)
        if arguments.json == "-":
            print(text)
        else:
            Path(arguments.json).write_text(text + "\n")
    if arguments.json != "-":
        print(report.heading(results, settings))
        print_table(report.table(results, reference))
    if arguments.plot:
        report.plot(results, settings, arguments.plot)
    return int(any(result.error for result in results))
