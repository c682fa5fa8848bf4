"""The guides whose examples build on each other, each run as it is printed, on images that the test makes."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGES = runpy.run_path(str(Path(__file__).with_name("pages.py")))
EXAMPLES = PAGES["examples"]()
COMMAND = Path(sys.executable).with_name("imsvd-plugins")


@pytest.fixture
def run(tmp_path):
    """Runs a program in `tmp_path`; returns what it prints."""

    def run(*command):
        finished = subprocess.run(
            [str(word) for word in command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    return run


def write_photos(folder, count):
    """Photos of two classes, which a colour tells apart."""
    generator = np.random.default_rng(0)
    for index in range(count):
        place = folder / ("cats" if index % 2 else "dogs")
        place.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 128, (40, 48, 3), np.uint8) + np.array([0, 0, 127 * (index % 2)], np.uint8)
        Image.fromarray(pixels).save(place / f"{index}.jpg")


def test_from_a_folder_to_a_collection(run, tmp_path):
    write_photos(tmp_path / "photos" / "train", 64)
    write_photos(tmp_path / "photos" / "val", 8)
    for name in ("photos.yaml", "near.py", "finetune.py"):
        (tmp_path / name).write_text(EXAMPLES[name])
    for words in (("lightly", "fit", "--config", "photos.yaml"), ("embed", "work_dirs/photos/checkpoints/last.ckpt")):
        run(COMMAND, *PAGES["command"](*words))
    near = run(sys.executable, "near.py")
    assert near.count("photos/train/") == 6
    run(COMMAND, *PAGES["command"]("export", "work_dirs/photos/checkpoints/last.ckpt"))
    tuned = run(sys.executable, "finetune.py")
    assert "missing_keys=['fc.weight', 'fc.bias']" in tuned
    assert re.search(r"^[01]\.\d\d of 8 photos$", tuned, re.M)


def test_a_config_of_four_bands_trains(run, tmp_path):
    (tmp_path / "TILES").mkdir()
    for index in range(8):
        np.save(tmp_path / "TILES" / f"{index}.npy", np.random.default_rng(index).random((4, 40, 48), np.float32))
    (tmp_path / "four_bands.py").write_text(EXAMPLES["four_bands.py"])
    options = ("train_cfg.max_epochs=1", "train_dataloader.batch_size=4", "train_dataloader.num_workers=1")
    run(COMMAND, "train", "four_bands.py", "--work-dir", "work", "--cfg-options", *options)
    assert (tmp_path / "work" / "epoch_1.pth").exists()


def test_a_data_module_of_ones_own_gives_views(run, tmp_path):
    write_photos(tmp_path / "PHOTOS", 64)
    (tmp_path / "mine.py").write_text(EXAMPLES["mine.py"])
    code = "import mine; views, _, names = next(iter(mine.Mine().train_dataloader())); print(len(views), len(names))"
    assert run(sys.executable, "-c", code).split() == ["2", "64"]
