"""Every shipped config trains one epoch by ``--cfg-options train_cfg.max_epochs=1``, on images that are made up.

Network, views, workers, schedule, hooks and evaluation are as shipped. Only the batch is smaller, for memory's sake,
and what evaluates a pretraining gets the checkpoint that this pretraining left.
"""

import json
import math
import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from mmpretrain.datasets import CIFAR10

from imsvd_plugins.commands import train
from imsvd_plugins.openmmlab import shipped_configs

TABLE = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "config_table.py"))
FAKE = runpy.run_path(str(Path(__file__).with_name("fake_data.py")))
KINDS = {path.stem: TABLE["kind"](path) for path in TABLE["shipped"]()}
TRAINED = [name for name, kind in KINDS.items() if kind in ("pretraining", "evaluation")]
# Both methods, all kinds of networks and layouts, and each way to evaluate by training.
SAMPLE = [
    "imsvd_resnet14-w24_1xb256-coslr-60e_digits",
    "imsvd_resnet18_1xb256-coslr-200e_16bit",
    "imsvd_resnet18_1xb512-coslr-800e_cifar10",
    "imsvd_vit-small-p16_8xb256-coslr-300e_in1k",
    "resnet18_1xb256-linear-steplr-100e_cifar10",
    "resnet50_1xb256-linear-coslr-100e_dtd",
    "ssl-hsic_resnet50_16xb256-coslr-100e_in1k",
]
# Which pretraining a config evaluates, by its backbone and, if that does not tell, its data.
PRETRAINING = {
    "resnet14-w24_": "imsvd_resnet14-w24_1xb256-coslr-60e_digits",
    "resnet18_.*_cifar": "imsvd_resnet18_1xb512-coslr-800e_cifar10",
    "resnet18_.*_in": "ssl-hsic_resnet18_1xb256-coslr-800e_imagenette",
    "resnet18_.*_imagenette": "ssl-hsic_resnet18_1xb256-coslr-800e_imagenette",
    "resnet50_": "ssl-hsic_resnet50_16xb256-coslr-100e_in1k",
    "vit-small-p16_": "imsvd_vit-small-p16_8xb256-coslr-300e_in1k",
}
# What the loaders say of a machine with few cores and no GPU.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with ``data/`` in it."""
    path = tmp_path_factory.mktemp("one_epoch")
    FAKE["write"](path / "data")
    yield path
    # Checkpoints of whole ResNets, with the states of their optimizers.
    shutil.rmtree(path)


@pytest.fixture
def run(folder, monkeypatch):
    """Trains a config once, as the command does, and returns the folder of the run."""
    monkeypatch.chdir(folder)
    # The images are not CIFAR's, whose checksums its class compares.
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    return _run


def _run(name):
    work_dir = Path("work_dirs") / name
    if not (work_dir / "last_checkpoint").is_file():
        options = ["train_cfg.max_epochs=1"]
        if "digits" not in name:
            options.append("train_dataloader.batch_size=4")
        if name.endswith("_images"):
            options += [f"{option}={folder}" for option, folder in FAKE["FOLDERS"].items()]
        if KINDS[name] == "evaluation":
            pretraining = next(value for pattern, value in PRETRAINING.items() if re.match(pattern, name))
            checkpoint = (_run(pretraining) / "last_checkpoint").read_text()
            options.append(f"model.backbone.init_cfg.checkpoint={checkpoint}")
        train.main([name, "--work-dir", str(work_dir), "--cfg-options", *options])
    return work_dir


def check(name, work_dir):
    saved = torch.load((work_dir / "last_checkpoint").read_text(), map_location="cpu")
    assert saved["meta"]["epoch"] == 1
    assert saved["meta"]["iter"] > 0
    assert all(torch.isfinite(value).all() for value in saved["state_dict"].values())
    lines = [json.loads(line) for line in next(work_dir.rglob("scalars.json")).read_text().splitlines()]
    scalars = {key: value for line in lines for key, value in line.items()}
    assert math.isfinite(scalars["loss"])
    hooks = {
        hook.get("type") for hook in train.Config.fromfile(shipped_configs.resolve_config(name)).get("custom_hooks", [])
    }
    if "imsvd_plugins.KNNEvalHook" in hooks:
        assert 0 <= scalars["knn_top1"] <= 100
    if KINDS[name] == "evaluation":
        metrics = [value for key, value in scalars.items() if re.search("accuracy|recall|mAP|top1", key)]
        assert metrics
        assert all(0 <= value <= 100 for value in metrics)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_shipped_config_trains_one_epoch(run, name):
    check(name, run(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRAINED if name not in SAMPLE])
def test_every_other_shipped_config_trains_one_epoch(run, name):
    work_dir = run(name)
    check(name, work_dir)
    if name not in PRETRAINING.values():
        shutil.rmtree(work_dir)
