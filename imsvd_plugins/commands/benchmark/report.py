"""A run's results as a table, as JSON and as a chart."""

import datetime
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from imsvd_plugins.commands.benchmark.runner import Result
from imsvd_plugins.commands.benchmark.settings import Settings
from imsvd_plugins.extras import missing_extra

_CPUINFO = Path("/proc/cpuinfo")


def table(results: Sequence[Result], reference: str) -> list[list[str]]:
    """A row of headings and a row per loss. Numbers are aligned to the right; unknown ones are empty cells.

    Times are in milliseconds per step, memory and bytes sent in MB (10^6 bytes), of the rank with the most.
    """
    headings = "MEDIAN ms", "MIN ms", "FIRST ms", f"x {reference}", "MEMORY MB", "GFLOP", "OF RATE", "SENT MB"
    rows = [["LOSS", *headings, "ERROR"]]
    for found in summary(results, reference):
        rows.append(
            [
                found["loss"],
                _number(found["median_seconds"], 1e3),
                _number(found["min_seconds"], 1e3),
                _number(found["first_seconds"], 1e3),
                _number(found["ratio"], 1, ".2f"),
                _number(found["memory_bytes"], 1e-6, ",.1f"),
                _number(found["flops"], 1e-9, ",.2f"),
                _number(found["rate_fraction"], 1, ".0%"),
                _number(found["sent_bytes"] or None, 1e-6, ",.3f"),
                found["error"] or "",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [row[0], *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)), row[-1]]
        for row in rows
    ]


def heading(results: Sequence[Result], settings: Settings) -> str:
    """A line with the settings and, if the products were measured, the matrix rate."""
    batch = f"N = {settings.samples}, D = {settings.dim}, K = {settings.bins}, F = {settings.features}"
    precision = settings.dtype + (f", autocast {settings.autocast}" if settings.autocast else "")
    line = (
        f"{batch}, V = {settings.views}; {precision}, matrix products {settings.matmul_precision}; "
        f"{_processor(settings.device)}, {settings.ranks} rank(s) of {settings.threads} thread(s)"
    )
    rate = matrix_rate(results)
    return line + (f"; matrix rate {rate / 1e9:,.0f} GFLOP/s a rank" if rate else "")


def as_json(results: Sequence[Result], settings: Settings, reference: str) -> dict[str, Any]:
    """Everything about a run: settings, machine, versions, date and, for each loss, each rank's measurement."""
    return {
        "settings": settings._asdict(),
        "machine": {"cpu": _processor("cpu"), "gpu": _processor("cuda") if settings.device == "cuda" else None},
        "versions": {name: _version(name) for name in ("imsvd_plugins", "torch", "lightly")},
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "reference": reference,
        "matrix_flops_per_second": matrix_rate(results),
        "results": summary(results, reference),
    }


def summary(results: Sequence[Result], reference: str) -> list[dict[str, Any]]:
    """A dictionary per loss; unknown values are None."""
    rate = matrix_rate(results)
    base = next((result.median for result in results if result.loss == reference and result.ranks), None)
    rows = []
    for result in results:
        done = bool(result.ranks)
        rows.append(
            {
                "loss": result.loss,
                "error": result.error or None,
                "median_seconds": result.median if done else None,
                "min_seconds": min(result.seconds) if done else None,
                "first_seconds": result.first_seconds if done else None,
                "ratio": result.median / base if done and base else None,
                "memory_bytes": result.memory_bytes if done else None,
                "flops": result.flops if done else None,
                "sent_bytes": result.sent_bytes if done else None,
                "rate_fraction": result.flops / result.median / rate if done and rate else None,
                "ranks": [rank._asdict() for rank in result.ranks],
            }
        )
    return rows


def matrix_rate(results: Sequence[Result]) -> float | None:
    """FLOP/s of the bare products, of one rank; None if they were not measured."""
    return next(
        (result.flops / result.median for result in results if result.loss == "products" and result.ranks), None
    )


def check_plot(path: Path) -> None:
    """Refuse a chart that could not be drawn, before anything is measured.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If matplotlib cannot write such a file.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase  # noqa: PLC0415
    except ImportError as error:
        raise missing_extra("--plot", "matplotlib", "explain") from error
    kinds = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix[1:].lower() not in kinds:
        raise ValueError(f"--plot must end in one of .{', .'.join(kinds)}; got {str(path)!r}.")


def plot(results: Sequence[Result], settings: Settings, path: Path) -> None:
    """Draw time and memory as bars, one for each measured loss."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    done = [result for result in results if result.ranks]
    names = [result.loss for result in done]
    panels = {
        "forward + backward, ms": [1e3 * result.median for result in done],
        "extra peak memory, MB": [1e-6 * (result.memory_bytes or 0) for result in done],
    }
    figure = Figure(figsize=(9, 1.2 + 0.4 * len(done)), layout="constrained")
    for axis, (title, values) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axis.bar_label(axis.barh(names, values), fmt="{:,.0f}", padding=3)
        axis.set(title=title)
        axis.margins(x=0.15)
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(heading(results, settings), fontsize="small", wrap=True)
    figure.savefig(path, dpi=120)


def _number(value: float | None, factor: float, form: str = ",.1f") -> str:
    return "" if value is None else format(value * factor, form)


def _processor(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    found = re.search(r"model name\s*:\s*(.+)", _CPUINFO.read_text()) if _CPUINFO.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
