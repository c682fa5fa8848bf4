"""The recipes for a folder of images, trained as shipped by the command; only batch, crops and epochs are smaller."""

import json
import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from imsvd_plugins.commands import train
from imsvd_plugins.data import image_check
from imsvd_plugins.openmmlab import CheckedRunner
from imsvd_plugins.openmmlab.shipped_configs import resolve_config

PHOTOS = runpy.run_path(str(Path(__file__).with_name("photos.py")))
IMSVD = "imsvd_resnet18_1xb256-coslr-200e_images"
HSIC = "ssl-hsic_resnet18_1xb256-coslr-200e_images"
SMALL = [
    "train_dataloader.batch_size=16",
    *(f"train_dataloader.dataset.pipeline.1.transforms.{view}.0.scale=32" for view in (0, 1)),
]
# What the loaders say of a machine with few cores and no GPU.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with ``photos`` in it."""
    path = tmp_path_factory.mktemp("images")
    PHOTOS["write"](path / "photos")
    yield path
    # Checkpoints of whole ResNets, with the states of their optimizers.
    shutil.rmtree(path)


@pytest.fixture
def command(folder, monkeypatch):
    """Trains by the command, in this process."""
    monkeypatch.chdir(folder)

    def run(name, epochs, *options, resume=False):
        words = ["--work-dir", f"work/{name}", *(["--resume"] if resume else [])]
        train.main(
            [name, *words, "--cfg-options", "data_root=photos", *SMALL, f"train_cfg.max_epochs={epochs}", *options]
        )
        return folder / "work" / name

    return run


def log_of(work_dir):
    """The text of the newest run's log."""
    return max(work_dir.glob("*/*.log")).read_text()


def scalars_of(work_dir):
    return [
        json.loads(line) for path in sorted(work_dir.rglob("scalars.json")) for line in path.read_text().splitlines()
    ]


def test_imsvd_trains_and_resumes_without_another_scan(command, monkeypatch):
    work_dir = command(IMSVD, 1)
    log = log_of(work_dir)
    # 38 images: two steps of 16.
    first_step = log.index("Epoch(train) [1][2/2]")
    assert all(0 < log.index(f"\n  {file}: ") < first_step for file in PHOTOS["BROKEN"])
    assert "Epoch(knn)" not in log
    assert (work_dir / "best_rankme_epoch_1.pth").is_file()
    dumped = Config.fromfile(work_dir / f"{IMSVD}.py")
    assert (dumped.data_root, dumped.train_dataloader.dataset.data_root) == ("photos", "photos")

    decoded = []
    monkeypatch.setattr(image_check, "_fault", decoded.append)
    assert command(IMSVD, 2, resume=True) == work_dir
    assert decoded == []
    log = log_of(work_dir)
    assert "resumed epoch: 1, iter: 2" in log
    assert "3 of 41 images cannot be read" in log
    assert torch.load(work_dir / "epoch_2.pth")["meta"]["epoch"] == 2
    rankme = [entry["rankme"] for entry in scalars_of(work_dir) if "rankme" in entry]
    (best,) = work_dir.glob("best_*.pth")
    assert best.name == f"best_rankme_epoch_{1 + rankme.index(max(rankme))}.pth"


def test_ssl_hsic_trains_and_a_labelled_folder_switches_knn_on(command):
    work_dir = command(HSIC, 1, "labelled_root=photos")
    log = log_of(work_dir)
    assert log.index("3 of 41 images cannot be read") < log.index("Epoch(train) [1][2/2]")
    scalars = {key: value for entry in scalars_of(work_dir) for key, value in entry.items()}
    assert 0 <= scalars["knn_top1"] <= 100
    assert {"loss", "hsic_zy", "hsic_zz", "rankme", "alignment", "uniformity"} <= set(scalars)
    assert (work_dir / "best_rankme_epoch_1.pth").is_file()


class KilledError(Exception):
    pass


class Narrow:
    """The recipe with a narrow network and small images, six epochs of two steps, RankMe measured in each second."""

    def __init__(self, photos, work_dir):
        cfg = Config.fromfile(resolve_config(IMSVD))
        cfg.merge_from_dict(
            {
                "data_root": str(photos),
                "work_dir": str(work_dir),
                "train_dataloader.batch_size": 16,
                "train_dataloader.num_workers": 0,
                "train_dataloader.persistent_workers": False,
                "train_dataloader.dataset.pipeline.1.transforms.0.0.scale": 32,
                "train_dataloader.dataset.pipeline.1.transforms.1.0.scale": 32,
                "model.backbone.base_channels": 8,
                "model.backbone.stem_channels": 8,
                "model.neck": dict(in_channels=64, hid_channels=32, out_channels=32),
                "model.head.loss.num_bins": 4,
                "custom_hooks.0.interval": 2,
                "default_hooks.checkpoint.max_keep_ckpts": 2,
                "train_cfg.max_epochs": 6,
                "randomness": dict(seed=0),
            }
        )
        self.cfg = cfg
        self.work_dir = work_dir

    def run(self, monkeypatch, *, resume=False, kill_in=None):
        self.cfg.resume = resume
        self.cfg.experiment_name = f"narrow-{self.work_dir.name}-{resume}"
        runner = CheckedRunner.from_cfg(self.cfg)
        with monkeypatch.context() as patch:
            if kill_in is not None:
                before = Runner.call_hook

                def call_hook(runner, name, **options):
                    if name == "before_train_iter" and runner.epoch == kill_in:
                        raise KilledError
                    before(runner, name, **options)

                patch.setattr(Runner, "call_hook", call_hook)
            runner.train()


@pytest.mark.parametrize("kill_in", [pytest.param(3, marks=pytest.mark.slow), 4])
def test_best_and_last_after_a_kill_are_those_of_the_uninterrupted_run(folder, tmp_path, monkeypatch, kill_in):
    whole, killed = (Narrow(folder / "photos", tmp_path / name) for name in ("whole", "killed"))
    whole.run(monkeypatch)
    with pytest.raises(KilledError):
        killed.run(monkeypatch, kill_in=kill_in)
    killed.run(monkeypatch, resume=True)
    kept = [sorted(path.name for path in run.work_dir.glob("*.pth")) for run in (whole, killed)]
    assert kept[0] == kept[1]
    assert kept[0][1:] == ["epoch_5.pth", "epoch_6.pth"]
    assert re.fullmatch(r"best_rankme_epoch_[246]\.pth", kept[0][0])
    for name in kept[0]:
        states = [torch.load(run.work_dir / name)["state_dict"] for run in (whole, killed)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert (killed.work_dir / "last_checkpoint").read_text().endswith("epoch_6.pth")
