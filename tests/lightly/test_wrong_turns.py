"""Wrong turns of a user of `imsvd-plugins lightly`, and the one line that the user sees."""

import logging
import re
import sys

import pytest

from imsvd_plugins.commands.lightly.command import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    # Lightning's own words, before the line.
    pytest.mark.filterwarnings("ignore:Total length of `\\w+` across ranks is zero"),
    # It need not have one.
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    # LightningCLI uses what jsonargparse is giving up.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]

CONFIG = """
seed_everything: 0
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 1
  limit_train_batches: 2
  limit_val_batches: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger: false
  default_root_dir: run
model:
  class_path: imsvd_plugins.lightly.IMSVD
  init_args:
    backbone: {class_path: imsvd_plugins.lightly.backbones.SmallCNN}
    projection_head:
      class_path: imsvd_plugins.lightly.IMSVDProjectionHead
      init_args: {input_dim: 128, hidden_dim: 32, output_dim: 32}
    criterion: {class_path: imsvd_plugins.lightly.IMSVDLoss, init_args: {num_bins: 4}}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-3}}
    warmup_epochs: 0
data:
  class_path: imsvd_plugins.lightly.data.DigitsDataModule
  init_args: {batch_size_per_device: 16, num_workers: 0}
"""
# What users bring along.
THEIRS = """
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader


class Plain(LightningDataModule):
    drop_last = False

    def __init__(self, images: int = 32, batch: int = 8):
        super().__init__()
        self.data = [([torch.rand(3, 16, 16)] * 2, 0) for _ in range(images)]
        self.batch = batch

    def train_dataloader(self):
        return DataLoader(self.data, self.batch, drop_last=self.drop_last)


class Dropping(Plain):
    drop_last = True


class Buggy(Plain):
    def setup(self, stage):
        raise ValueError("a fault of the user's own code")


class BuggyFromTheStart(Plain):
    def __init__(self):
        self.images = 1 + None
"""
CRITERION = "--model.init_args.criterion"
TURNS = {
    # Names
    f"{CRITERION}.init_args.num_bin 3": f"{CRITERION[2:]}.init_args.num_bin: IMSVDLoss has no argument num_bin; did "
    "you mean num_bins?",
    f"{CRITERION}.class_path imsvd_plugins.lightly.IMSVDLos": f"{CRITERION[2:]}.class_path: there is no IMSVDLos in "
    "imsvd_plugins.lightly; did you mean IMSVDLoss or IMSVD?",
    f"{CRITERION} torch.nn.MSELoss": "criterion must have a method forward_components(*z_views) that returns a named "
    "tuple with the loss, as IMSVDLoss and HSICLoss have, got MSELoss.",
    "--model.backbone.depth 18": "model.init_args.backbone.init_args.depth: SmallCNN has no argument depth",
    "--model.class_path imsvd_plugins.lightli.IMSVD": "model.class_path: there is no module imsvd_plugins.lightli; did "
    "you mean lightly?",
    "--model.init_args.optimizer.init_args.lrr 1": "model.init_args.optimizer.init_args.lrr: AdamW has no argument "
    "lrr; did you mean lr?",
    "--data imsvd_plugins.lightly.data.DigitDataModule": "data: there is no DigitDataModule in "
    "imsvd_plugins.lightly.data; did you mean DigitsDataModule or ImagesDataModule or ArraysDataModule?",
    "--trainer.max_epoks 3": "trainer.max_epoks: Trainer has no argument max_epoks; did you mean max_epochs or "
    "max_steps or min_epochs?",
    "--trainer.callbacks+ imsvd_plugins.lightly.KNNCalback": "trainer.callbacks: there is no KNNCalback in "
    "imsvd_plugins.lightly; did you mean KNNCallback or callbacks?",
    "--trainer.callbacks+ imsvd_plugins.lightly.KNNCallback --trainer.callbacks.init_args.kk 3": "trainer.callbacks[0]."
    "init_args.kk: KNNCallback has no argument kk; did you mean k?",
    "--modell x": "modell: there is no such setting; did you mean model?",
    # And others, if the process knows others of such names.
    "--model IMSVDD": re.compile(
        r"model: IMSVDD is no import path such as imsvd_plugins\.lightly\.IMSVD; did you mean IMSVD( or \w+)*\?$"
    ),
    "--model torch.nn.Linear": "model: must be LightningModule, got torch.nn.Linear",
    "--model.init_args.lr_scheduler torch.optim.lr_scheduler.StepLR": "model.init_args.lr_scheduler: StepLR needs the "
    "argument step_size",
    "--trainer.callbacks+=pytorch_lightning.callbacks.EarlyStopping": "trainer.callbacks: EarlyStopping needs the "
    "argument monitor",
    # Values
    "--seed_everything x": "seed_everything: must be bool | int, got 'x'",
    f"{CRITERION}.init_args.num_bins many": f"{CRITERION[2:]}.init_args.num_bins: must be int, got 'many'",
    f"{CRITERION}.init_args.num_bins 7": "num_bins must divide the projector's output dimension D = 32, got num_bins = "
    "7; nearest that do: 2, 4, 8, 16.",
    f"{CRITERION}.init_args.num_bins 32": "num_bins = 32 of as many outputs of projection_head make a single variable, "
    "and IMSVD is of pairs of them: take a smaller num_bins or a larger output_dim.",
    "--model.init_args.optimizer.init_args.lr -1": "optimizer: Invalid learning rate: -1.0",
    "--model.init_args.projection_head.init_args.input_dim 512": "projection_head's input_dim must be the backbone's "
    "128 features, got 512.",
    "--trainer.max_epochs -1": "IMSVD has a schedule that goes to the last step: give the trainer max_epochs, "
    "max_steps or limit_train_batches, got max_epochs = -1 and max_steps = -1 with 2 batches an epoch.",
    "--trainer.accelerator toaster": re.compile("You selected an invalid accelerator name: `accelerator='toaster'`"),
    # Data
    "--data imsvd_plugins.lightly.data.ImageFolderDataModule": "data: ImageFolderDataModule needs the argument root, "
    "transform",
    "--data imsvd_plugins.lightly.data.CIFAR10DataModule --data.root no.npz --data.transform "
    "imsvd_plugins.lightly.IMSVDTransform": "root must be a folder or a packed file (.npz) of images; there is no file "
    "'no.npz'.",
    "--data.init_args.batch_size_per_device 4096": "batch_size_per_device must be at most a device's share of the "
    "training images, 1438 of 1438 on 1 device(s), got 4096.",
    "--data.init_args.batch_size_per_device 1": "batch_size_per_device must be an int >= 2, got 1.",
    "--model.init_args.batch_size_per_device 64": "model.init_args.batch_size_per_device: 64 would be ignored, because "
    "it is the data module's: set data.init_args.batch_size_per_device",
    "--model.init_args.num_classes 64": "model.init_args.num_classes would be ignored: it is the data module's "
    "num_classes",
    "--data theirs.Plain --model.init_args.optimizer null": "batch_size_per_device is missing, and the paper's "
    "learning rate goes by it: give the data module of a config an argument batch_size_per_device, or the model an "
    "optimizer.",
    "--data theirs.Plain --trainer.callbacks+ imsvd_plugins.lightly.KNNCallback": "KNNCallback needs a data module "
    "with a method bank_dataloader() that gives the labelled training images as an evaluation sees them, such as "
    "imsvd_plugins.lightly.data's. Without labels leave KNNCallback out.",
    "--data theirs.Dropping --data.batch 64 --trainer.limit_train_batches 1.0": "There is no step to train: a device "
    "has 32 images, which make no whole batch of 64 with drop_last = True. Take a smaller batch_size or more images.",
    "--data theirs.Plain --data.batch 1": "The objective is a statistic of the batch, and batches of one image have "
    "none: the training data loader's batch_size must be at least 2, got 1.",
    "--data theirs.Plain --data.images 33 --trainer.limit_train_batches 1.0": "The last batch of an epoch would hold "
    "one image, 33 in batches of 8: give the training data loader drop_last=True.",
    # Checkpoints
    "--ckpt_path nowhere.ckpt": "--ckpt_path nowhere.ckpt: there is no such file",
    "--ckpt_path run.yaml": "--ckpt_path run.yaml: that is no checkpoint, or not a whole one",
    "--ckpt_path best": "--ckpt_path best: only the process that trained knows which is best; give the file (there are "
    "none in run/checkpoints)",
    "--ckpt_path last --trainer.enable_checkpointing false": "--ckpt_path last: without trainer.enable_checkpointing "
    "give the checkpoint's file",
    "--checkpoint.dirpath x": "checkpoint.dirpath: checkpoints are in the folder checkpoints of "
    "trainer.default_root_dir; set that",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "run.yaml").write_text(CONFIG)
    (tmp_path / "theirs.py").write_text(THEIRS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    return tmp_path


def refused(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    prefix, _, line = error.splitlines()[-1].partition(" error: ")
    assert prefix == "imsvd-plugins lightly:"
    assert error.count("imsvd-plugins") == line.count("imsvd-plugins") + 1
    return line


@pytest.mark.parametrize("turn", TURNS)
def test_a_wrong_turn_ends_in_a_line_that_says_why(turn, folder, capsys):
    line = refused(["fit", "--config", "run.yaml", *turn.split()], capsys)
    expected = TURNS[turn]
    assert expected.match(line) if isinstance(expected, re.Pattern) else line == expected


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("fitt --config run.yaml", "fitt: there is no such subcommand, but fit and validate"),
        (
            "fit --config nowhere.yaml",
            "--config nowhere.yaml: there is neither such a file nor such a shipped config",
        ),
        ("fit --config no/where.yaml", re.compile(r'Parser key "config": File does not exist: .*where\.yaml')),
        (
            "validate --config run.yaml --ckpt_path best",
            "--ckpt_path best: only the process that trained knows which is best; give the file (there are none in "
            "run/checkpoints)",
        ),
    ],
)
def test_another_command_ends_so_too(words, line, folder, capsys):
    found = refused(words.split(), capsys)
    assert line.match(found) if isinstance(line, re.Pattern) else found == line


def test_a_wrong_setting_of_a_file_is_named_too(folder, capsys):
    (folder / "run.yaml").write_text(CONFIG.replace("hidden_dim", "hiden_dim"))
    assert refused(["fit", "--config", "run.yaml"], capsys) == (
        "model.init_args.projection_head.init_args.hiden_dim: IMSVDProjectionHead has no argument hiden_dim; did you "
        "mean hidden_dim or input_dim?"
    )


@pytest.mark.parametrize(("data", "error"), [("Buggy", ValueError), ("BuggyFromTheStart", TypeError)])
def test_a_fault_in_the_code_keeps_its_traceback(data, error, folder):
    with pytest.raises(error) as caught:
        main(["fit", "--config", "run.yaml", "--data", f"theirs.{data}"])
    assert caught.traceback[-1].path == folder / "theirs.py"


def test_checkpoints_may_be_turned_off(folder):
    main(["fit", "--config", "run.yaml", "--trainer.enable_checkpointing", "false"])
    assert not list(folder.rglob("*.ckpt"))


def test_data_without_labels_and_number_of_classes_train_without_an_online_classifier(folder, caplog, monkeypatch):
    (folder / "theirs.py").write_text(THEIRS.replace("* 2, 0)", "* 2,)"))
    # It has a handler of its own if Lightning was imported before there was any other.
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "propagate", True)
    main(["fit", "--config", "run.yaml", "--data", "theirs.Plain"])
    assert "There is no online classifier, because num_classes is None: labels are not looked at." in caplog.messages
    assert list(folder.rglob("last.ckpt"))


def test_what_the_checkpoint_of_another_run_cannot_give(folder, capsys):
    main(["fit", "--config", "run.yaml"])
    again = ["fit", "--config", "run.yaml", "--trainer.max_epochs", "3", "--ckpt_path"]
    for words, line in {
        "last --model.init_args.projection_head.init_args.hidden_dim 64": "The checkpoint is of another model: "
        "projection_head.layers.0.bias is (32,) in the checkpoint and (64,) in the model, and 6 more differ.",
        "last --model.init_args.optimizer torch.optim.SGD --model.init_args.optimizer.init_args.lr 0.1": "optimizer "
        "must be the checkpoint's when a training is resumed, AdamW, got SGD: the state of one is of no use to the "
        "other.",
        "best": re.compile("--ckpt_path best: only .* give the file \\(run/checkpoints/epoch=0-step=2.ckpt, run/check"),
    }.items():
        found = refused([*again, *words.split()], capsys)
        assert line.match(found) if isinstance(line, re.Pattern) else found == line
    with pytest.warns(
        UserWarning, match=r"count from now on: criterion.num_bins = 8 \(was 4\), trainer.max_epochs = 3"
    ):
        # Also of a file, from whose settings Lightning would take some over the given ones.
        main([*again, "run/checkpoints/last.ckpt", f"{CRITERION}.init_args.num_bins", "8"])
    assert refused(["fit", "--config", "run.yaml", "--ckpt_path", "last"], capsys).startswith(
        "You restored a checkpoint with current_epoch=2, but you have set Trainer(max_epochs=1)"
    )
