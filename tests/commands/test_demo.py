"""The demo as a user runs it, and what it must reach: minutes each, `pytest -m slow`. And its progress display."""

import io
import re
import subprocess
import sys

import pytest
from rich.console import Console

from imsvd_plugins.commands.demo.demo import EpochProgress


def shown(epochs, **options):
    text = io.StringIO()
    with EpochProgress(Console(file=text, width=100, **options)) as on_epoch:
        for epoch in range(1, epochs + 1):
            on_epoch(epoch, epochs, -epoch / 10)
    return text.getvalue()


def test_progress_is_a_bar_on_a_terminal():
    assert re.search(r"epoch 30/30 \S*━+\S* \S*loss -3.0000", shown(30, force_terminal=True, color_system=None))


@pytest.mark.parametrize(("epochs", "lines"), [(1, 1), (3, 3), (60, 10), (64, 10)])
def test_progress_is_some_lines_elsewhere(epochs, lines):
    found = shown(epochs).splitlines()
    assert len(found) == lines
    assert re.fullmatch(rf"epoch {epochs} of {epochs}  loss -{epochs / 10:.4f}  \d+ s", found[-1])


@pytest.mark.slow
@pytest.mark.parametrize("host", ["openmmlab", "lightly"])
@pytest.mark.parametrize("method", ["imsvd", "ssl-hsic"])
def test_demo_reaches_its_accuracies(method, host, tmp_path):
    command = [sys.executable, "-m", "imsvd_plugins.cli", "demo", "--method", method, "--host", host]
    finished = subprocess.run(
        [*command, "--work-dir", str(tmp_path)], capture_output=True, text=True, check=False, timeout=900
    )
    assert finished.returncode == 0, finished.stderr
    assert not finished.stderr
    assert len(finished.stdout.splitlines()) < 30
    pretrained = {
        name: float(value) for name, value in re.findall(r"│ (.+?) +│ +[\d.]+ │ +([\d.]+) │", finished.stdout)
    }
    assert pretrained["linear probe"] >= 0.97
    assert pretrained["kNN (k = 20)"] >= 0.94
    assert (tmp_path / "curves.png").stat().st_size > 10_000
