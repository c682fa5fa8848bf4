"""Sweeps of the small protocol: what one setting of IMSVD or SSL-HSIC changes, on the validation images.

    python small_sweeps.py --data packed.npz --tuned search/search.json --work-dir sweeps --seeds 0 1 2
    python small_sweeps.py --work-dir sweeps --show

Every run has 15 epochs and the method's best rate and weight decay of the search, a rate that is proportional to the
batch. A run that several sweeps share is trained once. The same command resumes; `--show` prints what is finished and
draws a figure of each sweep.
"""

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifar10_benchmark import CIFAR10
from results import read_json
from run import at_least
from small_benchmark import run_pending
from small_figures import draw_sweep
from small_protocol import Run, make_model, row_name
from small_tables import best_trial, sweep_table

BATCH = 256


@dataclass(frozen=True)
class Point:
    """A setting of a method; what it does not name is the method's default."""

    label: str
    method: str
    line: str  # of a figure with several lines
    changes: dict[str, Any]  # of fields of the Run

    def run(self, learning_rate, weight_decay, epochs, seed):
        """The run of this setting."""
        return Run(self.method, learning_rate, weight_decay, epochs=epochs, seed=seed, **self.changes)


def point(label, method="imsvd_k16", line="", **changes):
    """A `Point` from the fields of the Run that it changes."""
    return Point(str(label), method, line, changes)


@dataclass(frozen=True)
class Sweep:
    """Settings that are compared."""

    title: str
    xlabel: str
    points: tuple[Point, ...]


def _imsvd(name, values, default):
    """Points of one setting of IMSVD; its default is a run without settings."""
    return tuple(point(f"{value:g}", settings={} if value == default else {name: value}) for value in values)


def _hsic(name, values, default, method="ssl_hsic_no_target"):
    """Points of one setting of SSL-HSIC; without a target the loss alone decides, and a step costs less."""
    return tuple(point(value, method, settings={} if value == default else {name: value}) for value in values)


SWEEPS = {
    "bins": Sweep("IMSVD: bins K at 1024 logits", "bins of a variable", _imsvd("num_bins", (4, 8, 16, 32, 64), 16)),
    "batch": Sweep(
        "IMSVD: batch and bins K",
        "batch size",
        tuple(
            point(batch, settings={} if bins == 16 else {"num_bins": bins}, batch_size=batch, line=f"K = {bins}")
            for bins in (8, 16, 32)
            for batch in (64, 256, 512)
        ),
    ),
    "variables": Sweep(
        "IMSVD: variables M of 16 bins",
        "variables",
        tuple(
            point(f"{dim // 16}", settings={} if dim == 1024 else {"output_dim": dim}) for dim in (256, 512, 1024, 2048)
        ),
    ),
    "temperature": Sweep("IMSVD: temperature", "temperature", _imsvd("temperature", (0.1, 0.25, 0.5, 1.0, 2.0), 1.0)),
    "invariance": Sweep(
        "IMSVD: weight of the invariance", "weight", _imsvd("invariance_weight", (0.25, 0.5, 1.0, 2.0, 4.0), 1.0)
    ),
    "terms": Sweep(
        "IMSVD: each term off",
        "terms",
        (
            point("all"),
            point("no diagonal", settings={"diagonal_weight": 0.0}),
            point("no off-diagonal", settings={"off_diagonal_weight": 0.0}),
            point("no invariance", settings={"invariance_weight": 0.0}),
        ),
    ),
    "training": Sweep(
        "Averaged weights, and norms and biases without weight decay",
        "",
        tuple(
            point(label, method, line=line, **changes)
            for line, method in (("IMSVD", "imsvd_k16"), ("SSL-HSIC", "ssl_hsic"))
            for label, changes in (
                ("as shipped", {}),
                ("averaged weights", {"average": 0.99}),
                ("norms not decayed", {"decay_norms": False}),
            )
        ),
    ),
    # Each with the rate that was found for the nearest number of views.
    "views": Sweep(
        "IMSVD: views",
        "views",
        tuple(
            point(views, "imsvd_k16") if views == 2 else point(views, "imsvd_k16_views4", views=views)
            for views in (2, 3, 4, 5, 6)
        ),
    ),
    "hsic_views": Sweep(
        "SSL-HSIC without target: views",
        "views",
        tuple(point(views, "ssl_hsic_no_target", views=views) for views in (2, 4, 6)),
    ),
    "target": Sweep(
        "SSL-HSIC: target network", "", (point("with", "ssl_hsic"), point("without", "ssl_hsic_no_target"))
    ),
    "momentum": Sweep(
        "SSL-HSIC: the target's momentum at the start",
        "momentum",
        _hsic("momentum", (0.9, 0.97, 0.99, 0.996), 0.99, "ssl_hsic"),
    ),
    "features": Sweep(
        "SSL-HSIC without target: random features F",
        "random features",
        _hsic("num_features", (64, 256, 512, 2048), 512),
    ),
    "kernel": Sweep(
        "SSL-HSIC without target: kernel", "kernel", _hsic("kernel", ("imq", "gaussian", "laplacian", "linear"), "imq")
    ),
    "gamma": Sweep("SSL-HSIC without target: weight gamma", "gamma", _hsic("gamma", (0.0, 1.0, 3.0, 10.0), 3.0)),
    "draw": Sweep(
        "SSL-HSIC without target: draw and scale",
        "draw, scale",
        tuple(
            point(
                f"{draw}, {'learned' if learned else 'fixed'}",
                "ssl_hsic_no_target",
                settings=({"features": draw} if draw != "rff" else {}) | ({} if learned else {"learn_scale": False}),
            )
            for draw in ("rff", "orf")
            for learned in (True, False)
        ),
    ),
}


def file_of(work_dir, run):
    """Where the result of a run is kept."""
    name = row_name(run).replace(" ", ",")
    return (
        work_dir / (name if run.batch_size == BATCH else f"{name},batch_size={run.batch_size}") / f"seed{run.seed}.json"
    )


def make_runs(options):
    """The different runs of the chosen sweeps and their files, all settings with the first seed before the second.

    Raises:
        OSError: If there is no such search.
        ValueError: If it has no complete trial of a method.
    """
    tuned = read_json(options.tuned)
    runs = {}
    for seed, name in itertools.product(options.seeds, options.sweeps):
        for point in SWEEPS[name].points:
            if (best := best_trial(tuned.get(point.method, []))) is None:
                raise ValueError(f"--tuned holds no complete trial of {point.method}.")
            run = point.run(best["learning_rate"], best["weight_decay"], options.epochs, seed)
            runs[file_of(options.work_dir, run)] = run
    for run in runs.values():
        make_model(run)
    return [(run, file) for file, run in runs.items()]


def read_sweep(sweep, work_dir):
    """The finished results of a sweep, by line and label."""
    lines = {}
    for point in sweep.points:
        # The name of the folder depends on none of these.
        run = point.run(1.0, 1.0, 1, 0)
        results = [read_json(file) for file in sorted(file_of(work_dir, run).parent.glob("seed*.json"))]
        if results:
            lines.setdefault(point.line, {})[point.label] = results
    return lines


def show(work_dir):
    """Print each sweep of which something is finished, and draw it into ``NAME.png``."""
    for name, sweep in SWEEPS.items():
        if lines := read_sweep(sweep, work_dir):
            print(sweep.title, *sweep_table(lines), "", sep="\n")
            draw_sweep(work_dir / f"{name}.png", sweep.title, sweep.xlabel, lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Sweeps of IMSVD's and SSL-HSIC's settings with one CPU core.")
    add = parser.add_argument
    add("--data", type=Path, help=CIFAR10.data_help)
    add("--tuned", type=Path, help="search.json of small_search.py, for learning rates and weight decays")
    add("--work-dir", type=Path, required=True, help="folder of the results and figures")
    add("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS), help="default: all")
    add("--seeds", type=at_least(0), nargs="+", default=[0], help="one run each; default: 0")
    add("--epochs", type=at_least(1), default=15, help="default: %(default)s")
    add("--show", action="store_true", help="print and draw what is finished, and train nothing")
    options = parser.parse_args(arguments)
    if options.show:
        if not (options.work_dir / "settings.json").exists():
            parser.error(f"--work-dir {options.work_dir} holds no settings.json: no sweep has begun there.")
        show(options.work_dir)
        return
    if options.data is None or options.tuned is None:
        parser.error("--data and --tuned are needed to train.")
    settings = {
        "protocol": "small",
        "data": options.data.name,
        "evaluate_on": "validation",
        "epochs": options.epochs,
    }
    run_pending(parser, options, settings, make_runs)
    show(options.work_dir)


if __name__ == "__main__":
    main()
