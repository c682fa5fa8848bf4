"""The small protocol's table: methods trained on one CPU core and evaluated on the test images.

    python small_benchmark.py --data packed.npz --tuned search/search.json --seeds 0 1 2
    python small_benchmark.py --data packed.npz --methods imsvd_k16 --views 4 --set num_bins=8 --evaluate-on validation

Each run is a process of its own, so that its peak memory is its own, and leaves one JSON file. The README beside this
file says more.
"""

import argparse
import itertools
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import yaml
from cifar10_benchmark import CIFAR10, open_data
from cost import environment
from evaluation import DivergedError
from results import read_json, write_json
from run import at_least, check_work_dir
from small_protocol import ENTRIES, Run, make_loaders, make_model, quiet, row_name, split_indices, train
from small_tables import best_trial, print_table


def positive(text):
    """The type of an argument that must be a positive number."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number > 0, got {text!r}")
    return value


def setting(text):
    """The type of an argument KEY=VALUE, with a value of YAML."""
    key, separator, value = text.partition("=")
    if not (separator and key.isidentifier()):
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, got {text!r}")
    return key, yaml.safe_load(value)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Self-supervised methods on CIFAR-10 with one CPU core.")
    add = parser.add_argument
    add("--data", type=Path, required=True, help=CIFAR10.data_help)
    add("--methods", nargs="+", choices=ENTRIES, help="default: all, with --tuned those that it has")
    add("--seeds", type=at_least(0), nargs="+", default=[0], help="one run each; default: 0")
    add("--evaluate-on", choices=("test", "validation"), default="test", help="default: %(default)s")
    add("--epochs", type=at_least(1), default=30, help="default: %(default)s")
    add("--batch-size", type=at_least(2), default=256, help="default: %(default)s")
    add("--tuned", type=Path, help="search.json of small_search.py; its best learning rates and weight decays are used")
    add("--learning-rate", type=positive, help="for a batch of 256; default: the method's")
    add("--weight-decay", type=positive, help="default: the method's")
    add("--views", type=at_least(2), help="default: the method's")
    add("--set", type=setting, nargs="+", default=[], metavar="KEY=VALUE", help="settings of the methods, for a sweep")
    add("--work-dir", type=Path, default=Path("benchmark_logs", "CIFAR-10, small"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    settings = {
        "protocol": "small",
        "data": options.data.name,
        "evaluate_on": options.evaluate_on,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
    }
    if not run_pending(parser, options, settings, make_runs, lambda: print_table(options.work_dir)):
        print_table(options.work_dir)


def make_runs(options):
    """The runs that the command line asks for, and their files.

    Raises:
        ValueError: If a setting does not fit a method, or the search has no trial of it.
    """
    tuned = read_json(options.tuned) if options.tuned else None
    runs = []
    methods = options.methods or list(ENTRIES)
    if tuned is not None and options.methods is None:
        for method in [method for method in methods if ENTRIES[method].trained and not best_of(tuned, method)]:
            print(f"{method}: left out, because --tuned {options.tuned} holds no complete trial of it")
            methods.remove(method)
    for method, seed in itertools.product(methods, options.seeds):
        entry = ENTRIES[method]
        rate, decay = entry.learning_rate, entry.weight_decay
        if tuned is not None and entry.trained:
            if (best := best_of(tuned, method)) is None:
                raise ValueError(f"--tuned {options.tuned} holds no complete trial of {method}.")
            rate, decay = best["learning_rate"], best["weight_decay"]
        run = Run(
            method,
            learning_rate=options.learning_rate or rate,
            weight_decay=options.weight_decay or decay,
            views=options.views or entry.views,
            settings=dict(options.set),
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=seed,
        )
        try:
            make_model(run)
        except (TypeError, ValueError) as error:
            raise ValueError(f"--views or --set does not fit {method}: {error}") from error
        runs.append((run, options.work_dir / row_name(run).replace(" ", ",") / f"seed{seed}.json"))
    return runs


def best_of(tuned, method):
    return best_trial(tuned.get(method, []))


def finished(run, file):
    """Whether a run has a result.

    Raises:
        ValueError: If the file holds the result of another run.
    """
    if not file.exists():
        return False
    if (found := read_json(file)["run"]) != asdict(run):
        raise ValueError(f"{file} holds the run {found}, not {asdict(run)}: take another --work-dir.")
    print(f"{row_name(run)}, seed {run.seed}: finished before, in {file}")
    return True


def run_pending(parser, options, settings, make_runs, after_run=lambda: None):
    """Train the runs of a command line that have no result yet, each in a process of its own, and write their files.

    Args:
        parser: Reports what is wrong with the command line.
        options: The command line, with ``data`` and ``work_dir``.
        settings: What all runs share, for the files; its "evaluate_on" says on which images.
        make_runs: From the options to all runs and their files.
        after_run: Called without arguments after each run.

    Returns:
        The number of runs that were trained.
    """
    try:
        runs = make_runs(options)
        open_data(options.data)
        check_work_dir(options.work_dir, settings)
        pending = [(run, file) for run, file in runs if not finished(run, file)]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    write_json(options.work_dir / "settings.json", settings)
    for run, file in pending:
        print(f"{file.parent.name}, seed {run.seed}: begins", flush=True)
        # A forked process would inherit this one's memory.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent) as pool:
            result = pool.submit(run_once, run, options.data, settings["evaluate_on"]).result()
        write_json(file, {"settings": settings, **result})
        after_run()
    return len(pending)


def end_with_parent():
    """Make this process end when the one that started it is killed, rather than train for nobody."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def run_once(run, data, evaluate_on):
    """Train and evaluate one run; a diverged one has no metrics."""
    quiet()
    loaders = make_loaders(open_data(data), evaluate_on, split_indices(), run.batch_size, run.views)
    try:
        return train(run, loaders)
    except DivergedError as error:
        return {"run": asdict(run), "diverged": str(error), "environment": environment()}


if __name__ == "__main__":
    main()
