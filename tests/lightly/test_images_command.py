"""`imsvd-plugins lightly fit --config NAME_images`: from a folder to embeddings, as a user does it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytorch_lightning import LightningModule

from imsvd_plugins.cli import main as cli
from imsvd_plugins.commands.lightly.command import main
from imsvd_plugins.commands.lightly.shipped_configs import shipped_configs, with_shipped_configs
from imsvd_plugins.data import image_check

BROKEN = {"cut.jpg", "empty.PNG", "2023/page.jpg"}
VIEW = "--data.init_args.transform.init_args.view"

pytestmark = [
    # A last checkpoint is replaced, as it is meant.
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    # The training is short.
    pytest.mark.filterwarnings("ignore:warmup_epochs = 10 is longer than the training"),
    pytest.mark.filterwarnings("ignore:Resumed with other settings"),
    pytest.mark.filterwarnings("ignore:The number of training batches \\(4\\) is smaller than the logging interval"),
    # LightningCLI uses what jsonargparse is giving up.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]


def fit(config, root, *words):
    """As shipped, but for a small batch of small images on the CPU, and without bars."""
    small = "--trainer.accelerator cpu --trainer.enable_progress_bar false --trainer.enable_model_summary false "
    small += "--data.init_args.batch_size_per_device 8 --data.init_args.num_workers 0 "
    for view in (1, 2):
        small += f"{VIEW}_{view}_transform lightly.transforms.BYOLView{view}Transform "
        small += f"{VIEW}_{view}_transform.init_args.input_size 32 "
    return ["fit", "--config", config, "--data.init_args.root", str(root), *small.split(), *words]


@pytest.mark.parametrize(("method", "rate"), [("imsvd", 0.1), ("ssl_hsic", 1.0)])
def test_from_a_folder_to_embeddings(method, rate, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # At the recipes' rates for a batch of 256, one of 8 collapses.
    rate = ["--model.init_args.optimizer.init_args.lr", str(rate * 8 / 256)]
    with pytest.warns(UserWarning, match="3 images in .* cannot be read and are left out") as caught:
        main(fit(f"{method}_images", photos, *rate, "--trainer.max_epochs", "1"))
    (message,) = (str(warning.message) for warning in caught if "left out" in str(warning.message))
    assert all(name in message for name in BROKEN)
    folder = tmp_path / "work_dirs" / f"lightly_{method}_images" / "checkpoints"
    best, last = (torch.load(folder / f"{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert best["global_step"] == last["global_step"] == 4
    (kept,) = (state for name, state in last["callbacks"].items() if "train_rankme" in name)
    assert kept["best_model_path"] == str(folder / "best.ckpt")
    assert kept["best_model_score"] > 1

    # An interrupted training goes on without a look at the images.
    monkeypatch.setattr(image_check, "_fault", lambda path: pytest.fail(f"{path} was decoded"))
    with pytest.warns(UserWarning, match="left out"):
        main(fit(f"{method}_images", photos, *rate, "--trainer.max_epochs", "2", "--ckpt_path", "last"))
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 8
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)

    model = LightningModule.load_from_checkpoint(folder / "best.ckpt", weights_only=True)
    assert model.online_classifier is None
    words = f"embed {folder}/best.ckpt {photos} --out photos.npz --device cpu".split()
    assert cli(words) == 0
    with np.load("photos.npz", allow_pickle=False) as file:
        assert file["features"].shape == (37, 512)


def test_labelled_images_get_a_knn_evaluation(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("red", "blue"):
        (tmp_path / "labelled" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (40, 40), name).save(tmp_path / "labelled" / name / f"{index}.png")
    words = "--data.init_args.val_root labelled --trainer.max_epochs 1 --trainer.check_val_every_n_epoch 1 "
    words += "--trainer.callbacks+ imsvd_plugins.lightly.KNNCallback --trainer.callbacks.init_args.k 2 "
    words += "--trainer.logger pytorch_lightning.loggers.CSVLogger --trainer.logger.save_dir ."
    config = yaml.safe_load(shipped_configs()["imsvd_images"].read_text())
    config["trainer"]["callbacks"] = []
    Path("imsvd_images").write_text(yaml.dump(config))  # which goes before the shipped one of its name
    with pytest.warns(UserWarning, match="left out"):
        main(fit("imsvd_images", photos, *words.split()))
    metrics = Path("lightning_logs/version_0/metrics.csv").read_text().splitlines()
    assert "val_knn_top1" in metrics[0].split(",")
    assert "train_rankme" not in metrics[0].split(",")


THEIRS = """
import torch
from lightly.data import LightlyDataset
from lightly.transforms.multi_view_transform import MultiViewTransform
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader
from torchvision.transforms import v2 as T

to_tensor = T.Compose([T.Resize((32, 32)), T.ToImage(), T.ToDtype(torch.float32, scale=True)])


class Theirs(LightningDataModule):
    def __init__(self, root: str):
        super().__init__()
        self.root = root

    def train_dataloader(self):
        dataset = LightlyDataset(self.root, transform=MultiViewTransform([to_tensor, to_tensor]))
        return DataLoader(dataset, batch_size=8, drop_last=True)
"""


# Their own data are to train on alone.
@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
@pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
def test_a_lightly_dataset_in_a_data_module_of_ones_own_needs_no_number_of_classes(method, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(THEIRS)
    (tmp_path / "images").mkdir()
    generator = np.random.default_rng(0)
    for index in range(16):
        pixels = generator.integers(256, size=(40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    config = yaml.safe_load(shipped_configs()[f"{method}_images"].read_text())
    config["model"]["init_args"]["optimizer"]["init_args"]["lr"] *= 8 / 256  # in proportion to the batch
    config["trainer"]["callbacks"] = config["trainer"]["callbacks"][:2]
    config["data"] = {"class_path": "theirs.Theirs", "init_args": {"root": "images"}}
    (tmp_path / "run.yaml").write_text(yaml.dump(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    quiet = (
        "--trainer.accelerator cpu --trainer.logger false --trainer.max_epochs 1 --trainer.enable_progress_bar false"
    )
    main(["fit", "--config", "run.yaml", *quiet.split()])
    (best,) = tmp_path.rglob("best.ckpt")
    assert torch.load(best, weights_only=True)["global_step"] == 2


SEEN = """
import json

from pytorch_lightning import Callback


class Seen(Callback):
    def on_train_start(self, trainer, module):
        with open(f"rank_{trainer.global_rank}.json", "w") as file:
            json.dump(trainer.datamodule.train_dataset.get_filenames(), file)
"""


def test_two_ranks_see_the_same_images(photos, tmp_path):
    (tmp_path / "seen.py").write_text(SEEN)
    words = "--trainer.devices 2 --trainer.strategy ddp --trainer.max_steps 1 --trainer.callbacks+ seen.Seen"
    finished = subprocess.run(
        # By the installed command's own file: the launcher starts the other rank with it again.
        [
            *(sys.executable, str(Path(sys.executable).with_name("imsvd-plugins")), "lightly"),
            *fit("imsvd_images", photos, *words.split()),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("cut.jpg: ") == 1  # one process looked
    lists = [json.loads((tmp_path / f"rank_{rank}.json").read_text()) for rank in (0, 1)]
    assert lists[0] == lists[1]
    assert len(lists[0]) == 37


def test_shipped_configs_are_found_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shipped = str(shipped_configs()["imsvd_images"])
    for words in (["--config", "imsvd_images"], ["--config", "imsvd_images.yaml"], ["-c", "imsvd_images"]):
        assert with_shipped_configs(["fit", *words]) == ["fit", words[0], shipped]
    assert with_shipped_configs(["--config=imsvd_images"]) == [f"--config={shipped}"]
    # What is no name stays as it is.
    for other in ("folder/run.yaml", "{trainer: {max_epochs: 1}}", "--help"):
        assert with_shipped_configs(["--config", other]) == ["--config", other]
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "imsvd_imges"])
    assert capsys.readouterr().err == (
        "imsvd-plugins lightly: error: --config imsvd_imges: there is neither such a file nor such a shipped config; "
        "did you mean imsvd_images or imsvd_imagenet or imsvd_digits?\n"
    )
    Path("imsvd_images").touch()
    assert with_shipped_configs(["--config", "imsvd_images"]) == ["--config", "imsvd_images"]
    for words in (["--help"], ["fit", "--help"]):
        with pytest.raises(SystemExit, match="0"):
            main(words)
        shown = capsys.readouterr().out
        assert all(name in shown.replace("\n", " ") for name in shipped_configs())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.init_args.root", "nowhere"], "root must be a folder of images; there is no folder 'nowhere'."),
        ([], "data: ImagesDataModule needs the argument root"),
        (["--data.init_args.root", "two"], "batch_size_per_device must be at most a device's share of the training "
        "images, 2 of 2 on 1 device(s), got 256."),
        (["--data.init_args.root", "none"], "root must be a folder of images (.jpg, .png, .tiff and the like), 'none' "
        "has no image among 0 files."),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_train_is_named_in_a_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").mkdir()
    (tmp_path / "two").mkdir()
    for index in range(2):
        Image.new("RGB", (8, 8)).save(tmp_path / "two" / f"{index}.png")
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "imsvd_images", "--trainer.accelerator", "cpu", *words])
    assert capsys.readouterr().err.splitlines()[-1] == f"imsvd-plugins lightly: error: {message}"


def test_checkpoints_may_be_turned_off_where_a_config_has_its_own(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="left out"):
        main(fit("imsvd_images", photos, "--trainer.max_steps", "1", "--trainer.enable_checkpointing", "false"))
    assert not list(tmp_path.rglob("*.ckpt"))
