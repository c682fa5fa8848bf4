"""Runs both methods through Lightly's own ResNet-50 benchmark on a small image folder, one epoch a stage, on the CPU.

    python tests/tools/lightly_imagenet_benchmark.py CHECKOUT

CHECKOUT is a checkout of https://github.com/lightly-ai/lightly. Its benchmark is copied to a temporary folder, its
`main.py` gets one import line and one line in its table of methods, and then it runs as it stands: pretraining with the
online classifier, then kNN, linear and fine-tune evaluation. Nothing in Lightly or Lightning is patched: the linear and
the fine-tune evaluation, whose 90 and 30 epochs are written in their code, end after one by Lightning's own environment
variable of the trainer's `max_steps`.
"""

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

METHODS = ("imsvd", "ssl_hsic")
CLASSES, TRAIN_A_CLASS, VAL_A_CLASS, BATCH = 5, 4, 2, 4
STEPS = CLASSES * TRAIN_A_CLASS // BATCH
IMPORT = "from imsvd_plugins import lightly as imsvd_lightly\n"
ENTRY = "    **imsvd_lightly.METHODS,\n"
EVALUATIONS = ("knn", "linear", "finetune")


def copy_benchmark(checkout: Path, folder: Path) -> Path:
    """Copy the benchmark and add the two lines."""
    source = checkout / "benchmarks" / "imagenet" / "resnet50"
    if not (source / "main.py").is_file():
        sys.exit(f"{checkout} is no checkout of Lightly: it has no benchmarks/imagenet/resnet50/main.py.")
    benchmark = folder / "resnet50"
    shutil.copytree(source, benchmark)
    main = benchmark / "main.py"
    text = main.read_text()
    text, imports = re.subn(r"^(?=from pytorch_lightning import )", IMPORT, text, flags=re.MULTILINE)
    text, entries = re.subn(r"^(METHODS = \{\n(?: .*\n)*)(?=\})", rf"\1{ENTRY}", text, flags=re.MULTILINE)
    if (imports, entries) != (1, 1):
        sys.exit(f"{source}/main.py has another form: {imports} places for the import and {entries} for the methods.")
    main.write_text(text)
    return benchmark


def write_images(folder: Path) -> None:
    """Write random images of five classes, each class of one colour with noise."""
    generator = np.random.default_rng(0)
    colours = generator.integers(40, 216, (CLASSES, 1, 1, 3))
    for split, count in (("train", TRAIN_A_CLASS), ("val", VAL_A_CLASS)):
        for label, colour in enumerate(colours):
            (folder / split / f"class{label}").mkdir(parents=True)
            for index in range(count):
                pixels = colour + generator.integers(-40, 40, (64, 64, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / f"class{label}" / f"{index}.jpg")


def run(benchmark: Path, data: Path, logs: Path) -> subprocess.CompletedProcess[str]:
    """Run the benchmark's own `main.py` for both methods."""
    arguments = [
        *("--train-dir", str(data / "train"), "--val-dir", str(data / "val"), "--log-dir", str(logs)),
        *("--methods", *METHODS, "--num-classes", str(CLASSES), "--epochs", "1", "--seed", "0"),
        *("--batch-size-per-device", str(BATCH), "--num-workers", "1", "--knn-k", "5"),
        *("--accelerator", "cpu", "--devices", "1", "--precision", "32"),
    ]
    environment = {"PL_TRAINER_MAX_STEPS": str(STEPS), "PL_TRAINER_LOG_EVERY_N_STEPS": "1"}
    print(" ".join([*(f"{name}={value}" for name, value in environment.items()), "python main.py", *arguments]))
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=benchmark,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def report(output: str) -> list[str]:
    """Print each method's metrics; return what is missing or not finite."""
    faults = []
    for method in METHODS:
        _, begun, ran = output.partition(f"Running pretraining for {method}...")
        ran, finished, table = ran.partition(f"Results for {method}:")
        if not (begun and finished):
            faults.append(f"{method} did not come to its results")
            continue
        rows = re.findall(r"^\| (\w+) +\| (\w+)\S* +\| (\S+) +\|$", table.split("Running pretraining")[0], re.MULTILINE)
        online = re.findall(r"max (val_online_cls_top\d): (\S+)", ran)
        metrics = [("online", *pair) for pair in online] + rows
        for evaluation, name, value in metrics:
            print(f"{method:<9} {evaluation:<9} {name:<20} {value}")
            if not math.isfinite(float(value)) or float(value) < 0:
                faults.append(f"{method}: {evaluation} {name} is {value}")
        faults += [
            f"{method} has no {evaluation} evaluation"
            for evaluation in ("online", *EVALUATIONS)
            if evaluation not in {row[0] for row in metrics}
        ]
        if ran.count(f"`max_steps={STEPS}` reached") + ran.count("`max_epochs=1` reached") != 3:
            faults.append(f"{method}: pretraining, linear and fine-tune evaluation did not all end after one epoch")
    return faults


def main() -> None:
    """Copy, add the lines, run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT", help="a checkout of Lightly")
    checkout = parser.parse_args().checkout
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        benchmark = copy_benchmark(checkout, folder)
        write_images(folder / "data")
        started = time.monotonic()
        result = run(benchmark, folder / "data", folder / "logs")
        faults = report(result.stdout)
        print(f"exit status {result.returncode} after {time.monotonic() - started:.0f} s")
    if result.returncode or faults:
        print(result.stdout[-8000:], *faults, sep="\n", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
