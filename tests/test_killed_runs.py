"""Runs that are killed at random moments and resumed by the shipped commands end with the uninterrupted run's weights.

The shipped digits recipes of both methods and hosts, with their own loader workers, on one and two processes, for fewer
epochs.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

EPOCHS = 8
PATIENCE = 900.0  # seconds after which a training counts as hanging
CONFIGS = Path(__file__).parents[1] / "lightly_examples" / "configs"
COMMAND = [sys.executable, "-m", "imsvd_plugins.cli"]
LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
LAUNCHER += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "imsvd_plugins.cli"]


class OpenMMLab:
    recipes = ("imsvd_resnet14-w24_1xb256-coslr-60e_digits", "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits")

    @staticmethod
    def command(recipe, ranks, folder):
        start = [*COMMAND, "train", recipe] if ranks == 1 else [*LAUNCHER, "train", recipe, "--launcher", "pytorch"]
        # Shipped, it saves every fifth epoch, and few kills would come after a checkpoint.
        options = ["--cfg-options", f"train_cfg.max_epochs={EPOCHS}", "default_hooks.checkpoint.interval=1"]
        return [*start, "--work-dir", str(folder), "--resume", *options]

    @staticmethod
    def progress(folder):
        """How many epochs the runs in a folder have logged, those that were trained again included."""
        return sum(path.read_text().count('"loss"') for path in folder.rglob("scalars.json"))

    @staticmethod
    def saved(folder):
        pointer = folder / "last_checkpoint"
        name = pointer.read_text() if pointer.exists() else ""
        return int(re.search(r"epoch_(\d+)", name)[1]) if name else 0

    @staticmethod
    def final(folder):
        checkpoint = torch.load(folder / f"epoch_{EPOCHS}.pth", weights_only=False)
        return checkpoint["state_dict"], checkpoint["optimizer"]["state"]


class Lightly:
    recipes = ("imsvd_digits", "ssl_hsic_digits")

    @staticmethod
    def command(recipe, ranks, folder):
        options = ["--trainer.max_epochs", str(EPOCHS), "--trainer.default_root_dir", str(folder)]
        options += ["--trainer.accelerator", "cpu", "--trainer.devices", str(ranks)]
        options += ["--trainer.strategy", "auto" if ranks == 1 else "ddp"]
        return [
            *COMMAND,
            "lightly",
            "fit",
            "--config",
            str(CONFIGS / f"{recipe}.yaml"),
            *options,
            "--ckpt_path",
            "last",
        ]

    @staticmethod
    def progress(folder):
        return Lightly.saved(folder)

    @staticmethod
    def saved(folder):
        # ModelCheckpoint's own names: the best, which is the newest where nothing is monitored, and the last.
        found = [int(re.search(r"epoch=(\d+)", path.name)[1]) + 1 for path in folder.glob("checkpoints/epoch=*.ckpt")]
        return max(found, default=0)

    @staticmethod
    def final(folder):
        checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        assert checkpoint["epoch"] == EPOCHS - 1
        return checkpoint["state_dict"], checkpoint["optimizer_states"][0]["state"]


def family(pid):
    """A process and all that it has started: a launcher's workers and a loader's too."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def run(command, folder, stop=None):
    """Run a training to its end, or until ``stop`` says so; then kill all its processes.

    Returns:
        Whether it was killed.
    """
    folder.mkdir(exist_ok=True)
    deadline = time.monotonic() + PATIENCE
    hangs = False
    with (
        (folder / "output.txt").open("a") as output,
        subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        ) as process,
    ):
        while process.poll() is None:
            hangs = time.monotonic() > deadline
            if hangs or (stop is not None and stop()):
                for pid in family(process.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.05)
        status = process.wait()
    assert not hangs, f"not at its end after {PATIENCE} seconds: {command}"
    if status != -signal.SIGKILL:
        assert status == 0, (folder / "output.txt").read_text()[-3000:]
    return status == -signal.SIGKILL


def after(host, folder, epochs, delay):
    """Says so a while after a number of epochs more."""
    aim, due = host.progress(folder) + epochs, None

    def stop():
        nonlocal due
        if due is None and host.progress(folder) >= aim:
            due = time.monotonic() + delay
        return due is not None and time.monotonic() >= due

    return stop


def assert_same(a, b, path="checkpoint"):
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, tuple):
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{path}[{index}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("method", [0, 1], ids=["imsvd", "ssl_hsic"])
@pytest.mark.parametrize("host", [OpenMMLab, Lightly])
def test_a_killed_run_ends_as_the_uninterrupted_one(host, method, ranks, tmp_path):
    kills = 3 if ranks == 1 else 2  # twenty in all
    recipe = host.recipes[method]
    generator = random.Random(f"{host.__name__} {recipe} {ranks}")
    began = time.monotonic()
    assert not run(host.command(recipe, ranks, tmp_path / "whole"), tmp_path / "whole")
    seconds = (time.monotonic() - began) / EPOCHS
    parts = tmp_path / "parts"
    done = 0
    while done < kills:
        before = host.saved(parts)
        epochs = generator.randint(0, max(0, min(6, EPOCHS - before - 2)))
        # Up to an epoch later: amid a step, an evaluation, the writing of a checkpoint, or the start of the process.
        delay = generator.uniform(0, seconds)
        killed = run(host.command(recipe, ranks, parts), parts, after(host, parts, epochs, delay))
        print(f"{recipe} on {ranks}: from {before}, a kill {delay:.2f} s after {epochs} epochs: {killed}", flush=True)
        if killed:
            done += 1
        else:  # It came to its end first.
            shutil.rmtree(parts)
    assert not run(host.command(recipe, ranks, parts), parts)
    assert_same(host.final(parts), host.final(tmp_path / "whole"))
    print(f"{recipe} on {ranks}: the same weights and optimizer state after {kills} kills", flush=True)
