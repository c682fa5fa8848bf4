"""The demo as a user runs it, and what it must reach. Minutes each: `pytest -m slow`."""

import re
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("host", ["openmmlab", "lightly"])
@pytest.mark.parametrize("method", ["imsvd", "ssl-hsic"])
def test_demo_reaches_its_accuracies(method, host, tmp_path):
    command = [sys.executable, "-m", "imsvd_plugins.cli", "demo", "--method", method, "--host", host]
    finished = subprocess.run(
        [*command, "--work-dir", str(tmp_path)], capture_output=True, text=True, check=False, timeout=900
    )
    assert finished.returncode == 0, finished.stderr
    pretrained = {
        name: float(value) for name, value in re.findall(r"│ (.+?) +│ +[\d.]+ │ +([\d.]+) │", finished.stdout)
    }
    assert pretrained["linear probe"] >= 0.97
    assert pretrained["kNN (k = 20)"] >= 0.94
    assert (tmp_path / "curves.png").stat().st_size > 10_000
