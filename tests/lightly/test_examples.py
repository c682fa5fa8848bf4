"""The shipped example files, run as they are but for the data, the epochs and the devices."""

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "lightly_examples"
METHODS = pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
EPOCHS = 2


@pytest.fixture
def run_example(on_small_data, tmp_path):
    """Runs an example in `tmp_path`, with small data and further replacements; returns its output."""

    def run(path, replacements):
        script = tmp_path / "example.py"
        script.write_text(on_small_data((EXAMPLES / path).read_text(), replacements))
        result = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@METHODS
def test_pytorch(run_example, method):
    output = run_example(f"pytorch/{method}.py", {"epochs = 10": f"epochs = {EPOCHS}"})
    losses = re.findall(r"epoch: (\d\d), loss: (\S+)", output)
    assert [int(epoch) for epoch, _ in losses] == list(range(EPOCHS))
    assert all(math.isfinite(float(loss)) for _, loss in losses)


@METHODS
def test_pytorch_lightning(run_example, check_checkpoint, tmp_path, method):
    run_example(
        f"pytorch_lightning/{method}.py",
        {"max_epochs=10": f"max_epochs={EPOCHS}", 'accelerator="auto"': 'accelerator="cpu"'},
    )
    check_checkpoint(tmp_path, method, EPOCHS)


@pytest.mark.parametrize("method", ["imsvd", pytest.param("ssl_hsic", marks=pytest.mark.slow)])
def test_pytorch_lightning_distributed(run_example, check_checkpoint, tmp_path, method):
    run_example(
        f"pytorch_lightning_distributed/{method}.py",
        {
            "max_epochs=10": f"max_epochs={EPOCHS}",
            'devices="auto"': "devices=2",
            'accelerator="auto"': 'accelerator="cpu"',
            # Of the machine that runs the test, where the CPU must do.
            "sync_batchnorm=torch.cuda.is_available()": "sync_batchnorm=False",
        },
    )
    check_checkpoint(tmp_path, method, EPOCHS, ranks=2)


def test_signals_are_told_apart_by_what_was_learned_without_labels(tmp_path):
    """As shipped: signals, network and epochs."""
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / "pytorch" / "imsvd_signals.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    random, trained = (float(found) for found in re.findall(r"kNN, .*: (\S+)", result.stdout))
    assert trained > random + 0.2
