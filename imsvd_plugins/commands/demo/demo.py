"""`imsvd-plugins demo`: pretraining on digits in one of the hosts, and its evaluation with the labels."""

import importlib
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imsvd_plugins.extras import missing_extra

try:
    import matplotlib.pyplot as plt
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise missing_extra("the demo", error.name or str(error), "digits") from error

from imsvd_plugins.commands.demo.demo_run import DemoRun
from imsvd_plugins.data.digits import NUM_CLASSES, load_digits

TITLES = {"imsvd": "IMSVD", "ssl-hsic": "SSL-HSIC"}
HOSTS = {"openmmlab": "mmpretrain", "lightly": "Lightly"}
SHOTS, SHOT_DRAWS = 5, 10
NEIGHBOURS, TEMPERATURE = 20, 0.07
ATTRIBUTIONS = 8

Features = NDArray[np.float64]
Labels = NDArray[np.int64]


def run(method: str, host: str, work_dir: Path, resume: bool, epochs: int | None) -> None:
    """Pretrain, evaluate and show.

    Args:
        method: "imsvd" or "ssl-hsic".
        host: "openmmlab" or "lightly".
        work_dir: Where checkpoint, log, curves and table go.
        resume: Whether to resume from the last checkpoint in ``work_dir``.
        epochs: Epochs of pretraining; None for the recipe's own.
    """
    # A network this small gains little from a second thread, whose core the data loader's worker needs. With one thread
    # the result does not depend on the number of cores.
    torch.set_num_threads(1)
    console = Console()
    console.print(f"Pretraining {TITLES[method]} on digits with {HOSTS[host]}, in {work_dir}", highlight=False)
    work_dir.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # These warnings of OpenMMLab's packages mean nothing to a user of the demo.
        warnings.filterwarnings("ignore", "pkg_resources is deprecated as an API")
        warnings.filterwarnings("ignore", "Fail to import ``MultiScaleDeformableAttention``")
        pretrain: Callable[..., DemoRun] = importlib.import_module(f"imsvd_plugins.commands.demo.{host}").pretrain
        with EpochProgress(console) as on_epoch:
            result = pretrain(method, work_dir, resume=resume, epochs=epochs, on_epoch=on_epoch)

    before, after = (evaluate(*features) for features in (result.random_features, result.trained_features))
    table = Table(title=f"{TITLES[method]} on digits, 359 test images")
    for heading in ("accuracy", "random weights", "pretrained"):
        table.add_column(heading, justify="left" if heading == "accuracy" else "right")
    for name in before:
        table.add_row(name, f"{before[name]:.3f}", f"{after[name]:.3f}")
    console.print(table)
    curves = work_dir / "curves.png"
    draw_curves(result.curves, curves, title=f"{TITLES[method]} on digits ({HOSTS[host]})")
    console.print("Looking at what the network learned, on the test images", highlight=False)
    report = write_demo_report(result.checkpoint, work_dir / "report")
    files = {"checkpoint": result.checkpoint, "log": result.log, "curves": curves, "report": report.absolute().as_uri()}
    for name, path in files.items():
        console.print(f"{name:10s} {path}", highlight=False, soft_wrap=True)


def write_demo_report(checkpoint: Path, folder: Path) -> Path:
    """Write the report of `imsvd-plugins explain` on the test digits, with a few attributions, and return its page."""
    from imsvd_plugins.encoders import load_encoder  # noqa: PLC0415
    from imsvd_plugins.explain import explain, write_report  # noqa: PLC0415
    from imsvd_plugins.explain.images import open_images  # noqa: PLC0415

    images = open_images("digits:test")
    report = explain(load_encoder(checkpoint), images, checkpoint=str(checkpoint), attributions=ATTRIBUTIONS)
    return write_report(report, images, folder)


class EpochProgress:
    """Shows the progress of a training: a bar on a terminal, elsewhere about ten lines.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=None)
        self._start = time.monotonic()

    def __enter__(self) -> "EpochProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int, loss: float) -> None:
        """Show a finished epoch and its mean loss."""
        self._bar.update(self._task, completed=done, total=total, description=f"loss {loss:.4f}")
        if not self._console.is_terminal and (done % -(-total // 10) == 0 or done == total):
            seconds = time.monotonic() - self._start
            print(f"epoch {done} of {total}  loss {loss:.4f}  {seconds:.0f} s", file=self._console.file, flush=True)


def evaluate(train: Tensor, test: Tensor) -> dict[str, float]:
    """Accuracies on the test digits by linear probe, kNN and few labels, from frozen features ``(n, d)``.

    The few-label accuracy is the mean over ten fixed draws of five labelled images per class.
    """
    x_train, x_test = (features.double().numpy() for features in (train, test))
    y_train, y_test = (load_digits(split)[1] for split in ("train", "test"))
    neighbours = KNeighborsClassifier(
        NEIGHBOURS, metric="cosine", weights=lambda distance: np.exp((1 - distance) / TEMPERATURE)
    )
    few = []
    for seed in range(SHOT_DRAWS):
        chosen = _few_labels(y_train, seed)
        few.append(_linear_probe().fit(x_train[chosen], y_train[chosen]).score(x_test, y_test))
    return {
        "linear probe": float(_linear_probe().fit(x_train, y_train).score(x_test, y_test)),
        f"kNN (k = {NEIGHBOURS})": float(neighbours.fit(x_train, y_train).score(x_test, y_test)),
        f"{SHOTS} labels a class": float(np.mean(few)),
    }


def draw_curves(curves: dict[str, list[float]], path: Path, title: str) -> None:
    """Draw each curve in a panel of its own, with one value per epoch."""
    figure, axes = plt.subplots(1, len(curves), figsize=(3 * len(curves), 2.6), squeeze=False, layout="constrained")
    for axis, (name, values) in zip(axes[0], curves.items(), strict=True):
        axis.plot(range(1, len(values) + 1), values)
        axis.set(title=name, xlabel="epoch")
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _linear_probe() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def _few_labels(labels: Labels, seed: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    return np.concatenate(
        [generator.choice(np.flatnonzero(labels == digit), SHOTS, replace=False) for digit in range(NUM_CLASSES)]
    )
