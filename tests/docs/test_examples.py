"""The examples of the README and of the guides, each run as it is printed."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from imsvd_plugins import cli, plugins

PAGES = runpy.run_path(str(Path(__file__).with_name("pages.py")))
ROOT, EXAMPLES = PAGES["ROOT"], PAGES["examples"]()
COMMAND = Path(sys.executable).with_name("imsvd-plugins")

# What each script prints, as a regular expression.
SCRIPTS = {
    "barlow_twins_step.py": r"Barlow Twins: \d+\.\d\d\nIMSVD: -?\d\.\d\d\n",
    "choose.py": r"(K = \d+, M = \d+: one-hot codes reach off_diagonal = -\d\.\d\d\n){2}",
    "collapsed.py": r"healthy: rankme 6\d\.\d, uniformity -3\.\d+\ncollapsed: rankme 1\.\d, uniformity -?0\.000\n",
    "first_loop.py": r"\{'loss': -\d.*'diagonal': -\d.*'off_diagonal': -\d.*'invariance': \d.*\}\n",
    "first_module.py": "",
    "hsic_terms.py": r"views of an image are close .*'hsic_zy': 1\.[2-9].*\n"
    r"collapse .*'hsic_zy': 1\.0, 'hsic_zz': 0\.0,.*\n",
    "imsvd_terms.py": r"\{'loss': -4\.16, 'diagonal': -1\.39, 'off_diagonal': -2\.77, 'invariance': 0\.0\}\n"
    r"at best: diagonal -1\.39, off_diagonal -2\.77, invariance 0\n",
    "in_a_notebook.py": r"-\d\.\d{3}\n",
    "lightly_with_imsvd.py": r"(loss: -?\d+\.\d{3}\n){2}",
    "resume.py": "",
}
# Configs of mmpretrain's Barlow Twins, which train on images in ImageNet's layout.
OF_BARLOW_TWINS = ["barlowtwins_with_imsvd.py", "exact_resume.py"]
OF_DIGITS = ["first_config.py", "watched.py"]
# These have a test of their own, here or where it is said.
OTHERS = [
    "features.py",
    *("embed_digits.py", "variables.py"),  # tests/commands/test_explain.py
    *("photos.yaml", "near.py", "finetune.py", "four_bands.py", "mine.py"),  # test_guides.py
    *("pyproject.toml", "rational_quadratic.py"),  # tests/test_third_party.py
]


def test_every_example_is_run():
    assert sorted(EXAMPLES) == sorted([*SCRIPTS, *OF_BARLOW_TWINS, *OF_DIGITS, *OTHERS])


def run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_runs_as_it_stands(name, tmp_path):
    (tmp_path / name).write_text(EXAMPLES[name])
    finished = run([sys.executable, name], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert re.search(SCRIPTS[name], finished.stdout), finished.stdout


@pytest.mark.parametrize("name", OF_BARLOW_TWINS)
def test_mmpretrain_example_trains_as_printed(name, tmp_path):
    """On images in ImageNet's layout; only the epochs are fewer, and the batch is smaller for the memory's sake."""
    write_images = runpy.run_path(str(ROOT / "tests" / "openmmlab" / "fake_data.py"))["write"]
    write_images(tmp_path / "data")
    (tmp_path / name).write_text(EXAMPLES[name])
    options = ["train_cfg.max_epochs=1", "train_dataloader.batch_size=8"]
    command = ["train", name, "--work-dir", "work_dirs/imsvd"]
    if name == "barlowtwins_with_imsvd.py":
        assert PAGES["command"]("train", name) == command
    finished = run([COMMAND, *command, "--cfg-options", *options], tmp_path)
    said = finished.stdout + finished.stderr
    assert finished.returncode == 0, said
    assert len(re.findall(r"Epoch\(train\) +\[1\]\[1/1\].* loss: -?\d", said)) == 1
    assert (name == "exact_resume.py") == ("ExactResumeHook" in said)
    (tmp_path / "work_dirs" / "imsvd" / "epoch_1.pth").unlink()  # 1.4 GB


def test_first_config_trains_as_printed(tmp_path):
    (tmp_path / "first_config.py").write_text(EXAMPLES["first_config.py"])
    finished = run([COMMAND, *PAGES["command"]("train", "first_config.py")], tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Epoch(knn) [2]" in next((tmp_path / "work_dirs" / "first").rglob("*.log")).read_text()


def test_hooks_example_is_watched(tmp_path):
    (tmp_path / "watched.py").write_text(EXAMPLES["watched.py"])
    command = [COMMAND, "train", "watched.py", "--work-dir", "work", "--cfg-options", "train_cfg.max_epochs=1"]
    finished = run(command, tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    log = next((tmp_path / "work").rglob("*.log")).read_text()
    assert "Epoch(representation) [1]  rankme: " in log
    assert "Epoch(probe) [1]  probe_top1: " in log
    assert "Epoch(knn) [1]  knn_top1: " in log
    assert (tmp_path / "work" / "best_rankme_epoch_1.pth").exists()


def test_features_example_finds_config_and_checkpoint(tmp_path):
    code = EXAMPLES["features.py"]
    name, checkpoint = re.search(r'FeatureExtractor\("(.*?)", pretrained="(.*?)"\)', code).groups()
    (tmp_path / checkpoint).parent.mkdir(parents=True)
    prepare = (
        "import imsvd_plugins.openmmlab, mmcv, mmpretrain, torch\n"
        "from imsvd_plugins.data.digits import load_digits\n"
        f"torch.save({{'state_dict': mmpretrain.get_model('{name}').state_dict()}}, '{checkpoint}')\n"
        "mmcv.imwrite(load_digits('test', 16)[0][0], 'digit.png')\n"
    )
    assert run([sys.executable, "-c", prepare], tmp_path).returncode == 0
    (tmp_path / "features.py").write_text(code)
    finished = run([sys.executable, "features.py"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert name in finished.stdout
    assert "torch.Size([96" in finished.stdout


def test_configs_that_are_named_are_shipped():
    shipped = {path.stem for path in (ROOT / "mm_configs").rglob("*.py")}
    pages = "\n".join(page.read_text() for page in PAGES["PAGES"])
    named = set(re.findall(r"\b(?:imsvd|ssl-hsic)_resnet[\w-]+", pages))
    assert named
    assert named <= shipped


def test_commands_that_are_printed_exist():
    subcommands = {words[0] for words in PAGES["commands"]() if not words[0].startswith("-")}
    parser = cli.__doc__ + subprocess.run([COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    assert {"demo", "train", "test", "lightly", "explain", "embed", "export", "list"} <= subcommands
    assert all(re.search(rf"\b{name}\b", parser) for name in subcommands)


def test_groups_that_are_named_exist():
    guide = (ROOT / "docs" / "how-to" / "plug-in.md").read_text()
    assert set(re.findall(r"`(?:imsvd_plugins)?\.(kernels|losses|heads|transforms|methods)`", guide)) == set(
        plugins.KINDS
    )
