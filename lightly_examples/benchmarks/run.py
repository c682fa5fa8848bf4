"""Trains the methods of a benchmark one after the other, and gathers their results in a table, a file and a figure."""

import argparse
import itertools
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from benchmark_method import Method, Setup
from lightning_fabric.utilities.warnings import PossibleUserWarning
from loaders import device_loaders, worker_loaders
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException
from results import print_table, read_json, write_curves, write_json
from torch import nn
from views import View


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: its data, its methods and what they share."""

    name: str
    open_data: Callable[[Path], Callable[[str, Any], Any]]  # from --data to a function of "train" or "test", transform
    data_help: str
    num_classes: int
    views: tuple[View, View]
    stored_size: int  # pixels of the images that are kept in a GPU's memory
    backbone: Callable[[int], nn.Module]
    methods: dict[str, Callable[[Setup], Method]]
    learning_rate: float  # for a batch of 256
    epochs: int
    batch_size: int


def main(benchmark, arguments=None):
    """The command line of a benchmark's script."""
    parser = argparse.ArgumentParser(description=f"Self-supervised methods on {benchmark.name}.")
    add = parser.add_argument
    add("--data", type=Path, required=True, help=benchmark.data_help)
    add("--methods", nargs="+", choices=benchmark.methods, default=list(benchmark.methods), help="default: all")
    add("--epochs", type=at_least(1), default=benchmark.epochs, help="default: %(default)s")
    add("--batch-size", type=at_least(2), default=benchmark.batch_size, help="default: %(default)s")
    add("--seeds", type=at_least(0), nargs="+", default=[0], help="one run each; default: 0")
    add("--work-dir", type=Path, default=Path("benchmark_logs", benchmark.name), help="default: %(default)s")
    add("--num-workers", type=at_least(0), default=8, help="processes that load images; default: %(default)s")
    options = parser.parse_args(arguments)
    settings = {
        "benchmark": benchmark.name,
        "data": str(options.data.resolve()),
        "epochs": options.epochs,
        "batch_size": options.batch_size,
    }
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pending = unfinished(options)
    loaders = None
    try:
        open_split = benchmark.open_data(options.data)
        check_work_dir(options.work_dir, settings)
        if pending:
            loaders = make_loaders(benchmark, open_split, options, device)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    write_json(options.work_dir / "settings.json", settings)
    try:
        run(benchmark, pending, loaders, options, device)
    except SIGTERMException:  # which has no status of its own, and would look like a finished run
        sys.exit(143)


def at_least(smallest):
    """The type of an argument that must be an integer of at least ``smallest``."""

    def integer(text):
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f"must be an integer >= {smallest}, got {text!r}")
        return int(text)

    return integer


def check_work_dir(work_dir, settings):
    """Refuse to mix the results of different settings."""
    file = work_dir / "settings.json"
    if file.exists() and (found := read_json(file)) != settings:
        raise ValueError(f"--work-dir {work_dir} holds runs of {found}, not of {settings}: take another.")


def unfinished(options):
    """The methods and seeds that have no result yet, and their folders."""
    pending = []
    for method, seed in itertools.product(options.methods, options.seeds):
        folder = options.work_dir / method / f"seed{seed}"
        if (folder / "result.json").exists():
            print(f"{method}, seed {seed}: finished before, in {folder}")
        else:
            pending.append((method, seed, folder))
    return pending


def run(benchmark, pending, loaders, options, device):
    """Train what is not finished yet, and print the table of all that is."""
    for method, seed, folder in pending:
        result = train(benchmark, method, seed, loaders, options, device, folder)
        print(result)
        write_json(folder / "result.json", result)
        summarize(benchmark, options.work_dir)
    print_table(summarize(benchmark, options.work_dir))


def make_loaders(benchmark, open_split, options, device):
    """The loaders that suit the device; all methods share them."""
    settings = {"batch_size": options.batch_size, "num_workers": options.num_workers}
    if device.type == "cpu":
        loaders = worker_loaders(open_split, benchmark.views, **settings)
    else:
        loaders = device_loaders(open_split, benchmark.views, benchmark.stored_size, **settings, device=device)
    if not len(loaders.train):
        images = loaders.train_images
        raise ValueError(f"--batch-size must be at most the {images} training images, got {options.batch_size}.")
    return loaders


def summarize(benchmark, work_dir):
    """Write all finished runs of the folder to one file and one figure, and return them by model."""
    runs = {}
    for method in benchmark.methods:
        for file in sorted(work_dir.glob(f"{method}/seed*/result.json")):
            result = read_json(file)
            runs.setdefault(result["model"], []).append(result)
    write_json(work_dir / "results.json", runs)
    write_curves(work_dir / "curves.png", runs, f"Self-supervised methods on {benchmark.name}")
    return runs


def train(benchmark, method, seed, loaders, options, device, folder):
    """Train one method with one seed, from its last checkpoint where there is one."""
    on_gpu = device.type == "cuda"
    pl.seed_everything(seed, workers=True, verbose=False)
    setup = Setup(
        backbone=benchmark.backbone,
        dataloader_knn=loaders.knn,
        knn_k=min(200, loaders.train_images),  # Lightly's, or all
        num_classes=benchmark.num_classes,
        batch_size=options.batch_size,
        learning_rate=benchmark.learning_rate * options.batch_size / 256,
    )
    model = benchmark.methods[method](setup)
    progress = Progress(seed)
    trainer = pl.Trainer(
        max_epochs=options.epochs,
        accelerator="gpu" if on_gpu else "cpu",
        devices=1,
        precision="bf16-mixed" if on_gpu else "32-true",
        benchmark=on_gpu,
        logger=CSVLogger(folder, name="logs"),
        log_every_n_steps=min(50, len(loaders.train)),
        # Two batches before training would count as an epoch of the accuracy.
        num_sanity_val_steps=0,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        callbacks=[
            progress,
            ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False),
        ],
    )
    last = folder / "last.ckpt"
    print(f"{method}, seed {seed}: {f'goes on from {last}' if last.exists() else 'begins'}", flush=True)
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with warnings.catch_warnings():
        # Advice on the number of loader workers; and that last.ckpt is replaced is meant.
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        trainer.fit(model, loaders.train, loaders.test, ckpt_path=last if last.exists() else None)
    if trainer.interrupted:
        # Some versions of Lightning return here, and half a run is no result.
        raise KeyboardInterrupt
    return {
        "model": type(model).__name__.removesuffix("Model"),
        "batch_size": options.batch_size,
        "epochs": options.epochs,
        "max_accuracy": model.max_accuracy,
        "runtime": progress.seconds,
        "gpu_memory_usage": progress.gpu_memory,
        "seed": seed,
        "device": torch.cuda.get_device_name(device) if on_gpu else "CPU",
        "accuracies": progress.accuracies,
    }


class Progress(pl.Callback):
    """Keeps accuracy, time and memory through interruptions, and makes a resumed run the uninterrupted one.

    Random numbers begin anew after each epoch, at a place that depends on the seed and the epoch alone.
    """

    def __init__(self, seed):
        self.seed = seed
        self.accuracies = []  # of each epoch
        self.seconds = 0.0
        self.gpu_memory = 0  # peak, in bytes

    def on_train_start(self, trainer, pl_module):
        self._since = time.perf_counter()

    def on_train_epoch_end(self, trainer, pl_module):
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        self.accuracies.append(trainer.callback_metrics["kNN_accuracy"].item() / 100)
        if pl_module.device.type == "cuda":
            self.gpu_memory = max(self.gpu_memory, torch.cuda.max_memory_allocated())
        self._reseed()

    def state_dict(self):
        return {"accuracies": self.accuracies, "seconds": self.seconds, "gpu_memory": self.gpu_memory}

    def load_state_dict(self, state_dict):
        self.accuracies, self.seconds = list(state_dict["accuracies"]), state_dict["seconds"]
        self.gpu_memory = state_dict["gpu_memory"]
        self._reseed()

    def _reseed(self):
        pl.seed_everything(100_000 * self.seed + len(self.accuracies), workers=True, verbose=False)
