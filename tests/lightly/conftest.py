"""Small data and networks, so that the LightningModules and the examples train in seconds on the CPU."""

import hashlib
import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from imsvd_plugins.lightly import (
    IMSVD,
    SSLHSIC,
    HSICLoss,
    HSICPredictionHead,
    HSICProjectionHead,
    IMSVDLoss,
    IMSVDProjectionHead,
)

BATCH, IMAGES, CLASSES = 8, 32, 10
CIFAR10_FILES, IMAGES_A_FILE = 5, 8
BENCHMARKS = Path(__file__).parents[2] / "lightly_examples" / "benchmarks"


def _backbone():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=4), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def _imsvd():
    return IMSVD(
        BATCH,
        CLASSES,
        backbone=_backbone(),
        projection_head=IMSVDProjectionHead(6, 16, 16),
        criterion=IMSVDLoss(num_bins=4),
        warmup_epochs=1,
    )


def _ssl_hsic():
    return SSLHSIC(
        BATCH,
        CLASSES,
        backbone=_backbone(),
        projection_head=HSICProjectionHead(6, 16, 5),
        prediction_head=HSICPredictionHead(5, 16, 5),
        criterion=HSICLoss(num_features=32),
        warmup_epochs=1,
    )


@pytest.fixture
def small_model():
    """Makes the small model of a method of `METHODS`, with the same weights each time."""

    def make(method):
        torch.manual_seed(0)
        return {"imsvd": _imsvd, "ssl_hsic": _ssl_hsic}[method]()

    return make


@pytest.fixture
def loaders():
    """Loaders of training batches (views, labels, names) and of validation batches (images, labels, names)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, 3, 16, 16, generator=generator)
    views = images + 0.1 * torch.randn(2, *images.shape, generator=generator)
    train = [([views[0, i], views[1, i]], i % CLASSES, f"{i}.png") for i in range(IMAGES)]
    val = [(images[i], i % CLASSES, f"{i}.png") for i in range(IMAGES)]
    return [DataLoader(data, batch_size=BATCH) for data in (train, val)]


@pytest.fixture
def make_trainer(tmp_path):
    """Makes a quiet trainer on the CPU."""

    def make(**settings):
        return pl.Trainer(
            **{
                "accelerator": "cpu",
                "devices": 1,
                "default_root_dir": tmp_path,
                "logger": False,
                "log_every_n_steps": 1,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                **settings,
            }
        )

    return make


@pytest.fixture(scope="session")
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

    train = [write(f"data_batch_{index}", images()) for index in range(1, CIFAR10_FILES + 1)]
    test = [write("test_batch", images())]
    name, checksum = write("batches.meta", {"label_names": [f"class {index}" for index in range(10)]})
    data_class = "torchvision.datasets.CIFAR10"
    checksums = (
        f"{data_class}.train_list, {data_class}.test_list = {train}, {test}\n"
        f"{data_class}.meta.update(filename={name!r}, md5={checksum!r})\n"
    )
    return root, checksums


@pytest.fixture
def on_small_data(cifar10):
    """Makes an example's text one that trains on `cifar10`; every replacement is made exactly once."""
    root, checksums = cifar10

    def shrink(source, replacements):
        for old, new in {
            "dataset = torchvision": f"{checksums}dataset = torchvision",
            '"datasets/cifar10", download=True': f"{str(root)!r}, download=False",
            "batch_size=256": f"batch_size={BATCH}",
            "num_workers=8": "num_workers=0",
            **replacements,
        }.items():
            assert source.count(old) == 1, f"{old!r} must stand there once, stands {source.count(old)} times"
            source = source.replace(old, new)
        return source

    return shrink


@pytest.fixture
def check_checkpoint():
    """Checks that Lightning saved an example's last step, with the loss' state where it has one."""

    def check(folder, method, epochs, ranks=1):
        (path,) = folder.glob("lightning_logs/version_0/checkpoints/*.ckpt")
        checkpoint = torch.load(path, weights_only=True)
        # The distributed sampler divides the images among the ranks.
        steps = epochs * (CIFAR10_FILES * IMAGES_A_FILE // ranks // BATCH)
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

    return check


@pytest.fixture
def benchmarks(monkeypatch):
    """The scripts' folder, to import from as a script does."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield BENCHMARKS
    for file in BENCHMARKS.glob("*.py"):
        sys.modules.pop(file.stem, None)


@pytest.fixture
def packed(tmp_path):
    """A packed file of images whose colour tells their class."""
    generator = np.random.default_rng(0)
    content = {"classes": np.array([str(label) for label in range(10)])}
    for split, count in (("train", 64), ("test", 33)):
        labels, files = np.arange(count) % 10, []
        for label in labels:
            file = io.BytesIO()
            pixels = generator.integers(0, 30, (32, 32, 3)) + 20 * label
            Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG")
            files.append(file.getvalue())
        content[f"{split}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        content[f"{split}_offsets"] = np.cumsum([0, *map(len, files)])
        content[f"{split}_labels"] = labels
    np.savez(tmp_path / "packed.npz", **content)
    return tmp_path / "packed.npz"


@pytest.fixture
def photos(tmp_path):
    """A user's folder: 40 images of every kind, nested, the last three unreadable, and a file that is none."""
    root = tmp_path / "photos"
    folders = [root, root / "2023", root / "2023" / "summer", root / "2024"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    for index in range(37):
        pixels = generator.integers(0, 256, (40, 52, 4), np.uint8)
        colours, grey = Image.fromarray(pixels[..., :3]), Image.fromarray(pixels[..., 0])
        image, suffix, options = [
            (grey, "png", {}),
            (Image.fromarray(pixels), "PNG", {}),
            (colours.convert("P"), "gif", {}),
            (colours.convert("CMYK"), "JPG", {}),
            (colours, "jpeg", {"exif": rotated}),
            (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "Tif", {}),
            (colours, "bmp", {}),
            (colours, "WebP", {}),
        ][index % 8]
        image.save(folders[index % 4] / f"{index}.{suffix}", **options)
    (root / "cut.jpg").write_bytes((root / "4.jpeg").read_bytes()[:300])
    (root / "empty.PNG").touch()
    (root / "2023" / "page.jpg").write_text("no image")
    (root / "notes.txt").write_text("no image")
    return root
