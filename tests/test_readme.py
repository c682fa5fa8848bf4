"""The README's examples, each run as it stands there."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from imsvd_plugins import plugins

README = (Path(__file__).parent.parent / "README.md").read_text()
# A file's code stands under a line that holds nothing but its name.
FILES = {match[1]: match[2] for match in re.finditer(r"^`([\w./-]+)`\n\n```\w+\n(.*?)```$", README, re.M | re.S)}


COMMAND = Path(sys.executable).with_name("imsvd-plugins")


def printed_command(start):
    """The README's line that begins with ``imsvd-plugins`` and these words, as arguments."""
    (line,) = re.findall(rf"^    imsvd-plugins ({re.escape(start)}\b.*)$", README, re.M)
    return [COMMAND, *shlex.split(line, comments=True)]


def run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("name", ["lightly_with_imsvd.py", "resume.py"])
def test_example_runs_as_it_stands(name, tmp_path):
    (tmp_path / name).write_text(FILES[name])
    finished = run([sys.executable, name], tmp_path)
    assert finished.returncode == 0, finished.stderr
    losses = [float(value) for value in re.findall(r"loss: (-?[\d.]+)", finished.stdout)]
    assert len(losses) == (2 if name == "lightly_with_imsvd.py" else 0)


def test_mmpretrain_example_trains_as_printed(tmp_path):
    """On images in ImageNet's layout; only the epochs are fewer, and the batch is smaller for the memory's sake."""
    write_images = runpy.run_path(str(Path(__file__).parent / "openmmlab" / "fake_data.py"))["write"]
    write_images(tmp_path / "data")
    (tmp_path / "barlowtwins_with_imsvd.py").write_text(FILES["barlowtwins_with_imsvd.py"])
    options = ["train_cfg.max_epochs=1", "train_dataloader.batch_size=8"]
    finished = run([*printed_command("train barlowtwins_with_imsvd.py"), "--cfg-options", *options], tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert len(re.findall(r"Epoch\(train\) +\[1\]\[1/1\].* loss: -?\d", finished.stdout + finished.stderr)) == 1
    (tmp_path / "work_dirs" / "imsvd" / "epoch_1.pth").unlink()  # 1.4 GB


def test_hooks_example_is_watched(tmp_path):
    (tmp_path / "watched.py").write_text(FILES["watched.py"])
    command = [COMMAND, "train", "watched.py", "--work-dir", "work", "--cfg-options", "train_cfg.max_epochs=1"]
    finished = run(command, tmp_path)
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
        "from imsvd_plugins.data.digits import load_digits\n"
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
