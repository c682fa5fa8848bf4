"""The README's examples, each run as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from imsvd_plugins import plugins

README = (Path(__file__).parent.parent / "README.md").read_text()
# A file's code stands under a line that holds nothing but its name.
FILES = {match[1]: match[2] for match in re.finditer(r"^`([\w./-]+)`\n\n```\w+\n(.*?)```$", README, re.M | re.S)}


def run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("name", ["lightly_with_imsvd.py", "resume.py"])
def test_example_runs_as_it_stands(name, tmp_path):
    (tmp_path / name).write_text(FILES[name])
    finished = run([sys.executable, name], tmp_path)
    assert finished.returncode == 0, finished.stderr
    losses = [float(value) for value in re.findall(r"loss: (-?[\d.]+)", finished.stdout)]
    assert len(losses) == (2 if name == "lightly_with_imsvd.py" else 0)


def test_mmpretrain_example_trains_on_digits(tmp_path):
    """The config as it stands, inherited by one that only makes it small: other images, a narrow network, two steps."""
    (tmp_path / "barlowtwins_with_imsvd.py").write_text(FILES["barlowtwins_with_imsvd.py"])
    (tmp_path / "small.py").write_text("""
_base_ = ["./barlowtwins_with_imsvd.py"]
view = [dict(type="RandomResizedCrop", scale=32, crop_ratio_range=(0.5, 1.0))]
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type="imsvd_plugins.Digits",
        size=32,
        indices=32,
        pipeline=[dict(type="MultiView", num_views=[2], transforms=[view]), dict(type="PackInputs")],
    ),
)
model = dict(backbone=dict(depth=18), neck=dict(in_channels=512, hid_channels=64, out_channels=128))
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
param_scheduler = []
""")
    finished = run([sys.executable, "-m", "imsvd_plugins.cli", "train", "small.py", "--work-dir", "work"], tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert len(re.findall(r"Epoch\(train\)\s+\[1\]\[[12]/2\].* loss: -?\d", finished.stdout + finished.stderr)) == 2
    assert (tmp_path / "work" / "epoch_1.pth").exists()


def test_hooks_example_is_watched(tmp_path):
    (tmp_path / "watched.py").write_text(FILES["watched.py"])
    options = ["train_cfg.max_epochs=1", "train_dataloader.batch_size=32", "train_dataloader.dataset.indices=64"]
    command = [sys.executable, "-m", "imsvd_plugins.cli", "train", "watched.py", "--work-dir", "work"]
    finished = run([*command, "--cfg-options", "default_hooks.logger.interval=1", *options], tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    log = next((tmp_path / "work").rglob("*.log")).read_text()
    assert "Epoch(representation) [1]  rankme: " in log
    assert "Epoch(probe) [1]  probe_top1: " in log
    assert "Epoch(knn) [1]  knn_top1: " in log
    assert (tmp_path / "work" / "best_rankme_epoch_1.pth").exists()


def test_features_example_finds_config_and_checkpoint(tmp_path):
    name, checkpoint = re.search(r'FeatureExtractor\("(.*?)", pretrained="(.*?)"\)', FILES["features.py"]).groups()
    (tmp_path / checkpoint).parent.mkdir(parents=True)
    prepare = (
        "import imsvd_plugins.openmmlab, mmcv, mmpretrain, torch\n"
        "from imsvd_plugins.digits import load_digits\n"
        f"torch.save({{'state_dict': mmpretrain.get_model('{name}').state_dict()}}, '{checkpoint}')\n"
        "mmcv.imwrite(load_digits('test', 16)[0][0], 'digit.png')\n"
    )
    assert run([sys.executable, "-c", prepare], tmp_path).returncode == 0
    (tmp_path / "features.py").write_text(FILES["features.py"])
    finished = run([sys.executable, "features.py"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert name in finished.stdout
    assert "torch.Size([96" in finished.stdout


def test_configs_named_in_the_readme_are_shipped():
    folder = Path(__file__).parent.parent / "mm_configs"
    shipped = {path.stem for path in folder.rglob("*.py")}
    named = set(re.findall(r"\b(?:imsvd|ssl-hsic)_resnet[\w-]+", README))
    assert named
    assert named <= shipped


def test_groups_named_in_the_readme_exist():
    assert set(re.findall(r"`(?:imsvd_plugins)?\.(kernels|losses|heads|transforms|methods)`", README)) == set(
        plugins.KINDS
    )
