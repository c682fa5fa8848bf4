"""The six shipped example files, run as they are but for the data, the epochs and the devices."""

import hashlib
import math
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from imsvd_plugins.losses import HSICLoss

EXAMPLES = Path(__file__).parents[2] / "lightly_examples"
METHODS = pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
EPOCHS, BATCH, IMAGES_A_FILE = 2, 8, 8
IMAGES = 5 * IMAGES_A_FILE


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    """A folder with random images in CIFAR-10's own on-disk format, and the source text that sets their checksums."""
    root = tmp_path_factory.mktemp("cifar10")
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.default_rng(0)

    def write(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return name, hashlib.md5(data).hexdigest()

    def images():
        return {
            "data": generator.integers(0, 256, (IMAGES_A_FILE, 3 * 32 * 32), dtype=np.uint8),
            "labels": generator.integers(0, 10, IMAGES_A_FILE).tolist(),
        }

    train = [write(f"data_batch_{index}", images()) for index in range(1, 6)]
    test = [write("test_batch", images())]
    name, checksum = write("batches.meta", {"label_names": [f"class {index}" for index in range(10)]})
    data_class = "torchvision.datasets.CIFAR10"
    checksums = (
        f"{data_class}.train_list, {data_class}.test_list = {train}, {test}\n"
        f"{data_class}.meta.update(filename={name!r}, md5={checksum!r})\n"
    )
    return root, checksums


@pytest.fixture
def run_example(cifar10, tmp_path):
    """Runs an example with every replacement made exactly once, in `tmp_path`; returns its output."""
    root, checksums = cifar10

    def run(path, replacements):
        source = (EXAMPLES / path).read_text()
        for old, new in {
            "dataset = torchvision": f"{checksums}dataset = torchvision",
            '"datasets/cifar10", download=True': f"{str(root)!r}, download=False",
            "batch_size=256": f"batch_size={BATCH}",
            "num_workers=8": "num_workers=0",
            **replacements,
        }.items():
            assert source.count(old) == 1, f"{path}: {old!r} must stand there once, stands {source.count(old)} times"
            source = source.replace(old, new)
        script = tmp_path / "example.py"
        script.write_text(source)
        result = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def check_checkpoint(folder, method, steps):
    """What Lightning saved is that of so many steps, and holds the loss' state where it has one."""
    (path,) = folder.glob("lightning_logs/version_0/checkpoints/*.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["global_step"] == steps
    state = checkpoint["state_dict"]
    assert all(value.isfinite().all() for value in state.values())
    if method == "ssl_hsic":
        assert int(state["criterion._extra_state"]) == steps
        criterion = HSICLoss()
        prefix = "criterion."
        criterion.load_state_dict({key[len(prefix) :]: state[key] for key in state if key.startswith(prefix)})
        assert float(criterion.scale) != 1.0
        assert not torch.equal(state["backbone.0.weight"], state["backbone_momentum.0.weight"])


@METHODS
def test_pytorch(run_example, method):
    output = run_example(f"pytorch/{method}.py", {"epochs = 10": f"epochs = {EPOCHS}"})
    losses = re.findall(r"epoch: (\d\d), loss: (\S+)", output)
    assert [int(epoch) for epoch, _ in losses] == list(range(EPOCHS))
    assert all(math.isfinite(float(loss)) for _, loss in losses)


@METHODS
def test_pytorch_lightning(run_example, tmp_path, method):
    run_example(
        f"pytorch_lightning/{method}.py",
        {"max_epochs=10": f"max_epochs={EPOCHS}", 'accelerator="auto"': 'accelerator="cpu"'},
    )
    check_checkpoint(tmp_path, method, steps=EPOCHS * IMAGES // BATCH)


@METHODS
def test_pytorch_lightning_distributed(run_example, tmp_path, method):
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
    # The distributed sampler gives each rank half of the images, so there are half as many full batches.
    check_checkpoint(tmp_path, method, steps=EPOCHS * (IMAGES // 2 // BATCH))
