"""Wrong turns on the mmpretrain side, and the one line that the user sees of each: the last, without a traceback."""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import mmpretrain
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmpretrain.models.necks import LinearNeck, NonLinearNeck
from PIL import Image

from imsvd_plugins.commands import train
from imsvd_plugins.openmmlab import CheckedRunner, shipped_configs
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.training.preflight import check_model
from imsvd_plugins.registry import MODELS

IMSVD = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
HSIC = "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits"
VIT = "imsvd_vit-small-p16_8xb256-coslr-300e_in1k"
IMAGES = "imsvd_resnet18_1xb256-coslr-200e_images"
IMAGENETTE = "imsvd_resnet18_1xb256-coslr-800e_imagenette"
PROBE = "resnet14-w24_1xb256-linear-coslr-30e_digits"
STOCK = Path(mmpretrain.__file__).parent / ".mim/configs/barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k.py"

# A stock config with this package's head alone, on digits.
BARLOW_TWINS = f"""
_base_ = [{str(STOCK)!r}]
model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=512, hid_channels=64, out_channels=64),
    head=dict(_delete_=True, type="imsvd_plugins.IMSVDHead", loss=dict(type="imsvd_plugins.IMSVDLoss", num_bins=8)),
)
train_dataloader = dict(
    batch_size=16, num_workers=0, persistent_workers=False,
    dataset=dict(_delete_=True, type="imsvd_plugins.Digits", indices=32, size=32, pipeline=[
        dict(type="MultiView", num_views=[2], transforms=[[dict(type="RandomFlip", prob=0.5)]]),
        dict(type="PackInputs"),
    ]),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, begin=0, end=10, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", begin=10, convert_to_iter_based=True),
]
"""

# What the loaders say of a machine with few cores and no GPU.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),
]

# CONFIG, its --cfg-options, and a pattern of the line.
WRONG_TURNS = {
    "a config that does not exist": (f"{IMSVD}2", [], rf"CONFIG .* is neither .*\. Did you mean {IMSVD} or .*\?"),
    "a path that does not exist": ("configs/mine.py", [], r"CONFIG 'configs/mine\.py' is neither .*"),
    "a batch larger than the dataset": (
        IMSVD,
        ["train_dataloader.batch_size=4096"],
        r"train_dataloader\.dataset has 1438 images, fewer than the global batch \(4096 x 1 process\), so an epoch has "
        r"no step: set train_dataloader\.batch_size to 1438 or less\.",
    ),
    "the same without a schedule, which trained zero steps and succeeded": (
        IMSVD,
        ["train_dataloader.batch_size=4096", "param_scheduler=None"],
        r"train_dataloader\.dataset has 1438 images, .* so an epoch has no step: set .*",
    ),
    "a batch larger than the dataset without drop_last": (
        VIT,
        ["train_dataloader.dataset.data_root=images"],
        r"train_dataloader\.dataset has 1 images, .* \(256 x 1 process\), so an epoch has no full batch: add images\.",
    ),
    "a batch of one": (
        IMSVD,
        ["train_dataloader.batch_size=1"],
        r"train_dataloader\.batch_size must be at least 2: the loss is a statistic of the batch\.",
    ),
    "a last batch of one": (
        "barlow_twins.py",
        ["train_dataloader.batch_size=31"],
        r"train_dataloader\.drop_last must be True: of 32 images the last batch of 31 has one, .*",
    ),
    "pseudo_collate": (
        IMSVD,
        ["train_dataloader.collate_fn.type=pseudo_collate"],
        r"train_dataloader\.collate_fn must be dict\(type='default_collate'\) for IMSVD, got pseudo_collate, .*",
    ),
    "one view": (
        IMSVD,
        ["train_dataloader.dataset.pipeline.0.num_views=[1]", "custom_hooks=[]"],
        r"IMSVD needs two or more views, got 1: see num_views of the MultiView transform in .*",
    ),
    "another backbone and the old projector": (
        IMSVD,
        ["model.backbone.base_channels=32"],
        r"model\.neck\.in_channels must be the width of the backbone's output, 128 of ResNet_CIFAR, got 96\.",
    ),
    "a projector with pooling on a class token": (
        VIT,
        ["model.neck.with_avg_pool=True"],
        r"model\.neck\.with_avg_pool must be False for MoCoV3ViT, which gives one vector an image: .*, got True\.",
    ),
    "all tokens": (
        VIT,
        ["model.backbone.out_type=raw"],
        r"model\.backbone\.out_type of MoCoV3ViT must be 'cls_token' or 'avg_featmap', with .*all 197 tokens, .*",
    ),
    "several stages of the backbone": (
        IMSVD,
        ["model.backbone.out_indices=(1,2)"],
        r"model\.backbone\.out_indices of ResNet_CIFAR must name one stage, because NonLinearNeck .*, got 2\.",
    ),
    "one variable only": (
        IMSVD,
        ["model.head.loss.num_bins=512"],
        r"model\.head\.loss\.num_bins \(512\) must be smaller than model\.neck\.out_channels \(512\): .*only one\.",
    ),
    "bins that do not divide the width": (
        IMSVD,
        ["model.head.loss.num_bins=80"],
        r"model\.neck\.out_channels must be a multiple of .*\.num_bins \(80\), such as 480 or 560, got 512\.",
    ),
    "bins out of range": (IMSVD, ["model.head.loss.num_bins=0"], r"model\.head\.loss\.num_bins must be .*, got 0\."),
    "bins of a wrong type": (
        IMSVD,
        ["model.head.loss.num_bins=sixteen"],
        r"model\.head\.loss\.num_bins must be an int >= 2, got 'sixteen' of type str\.",
    ),
    "a misspelt setting": (
        IMSVD,
        ["model.head.loss.bins=16"],
        r"model\.head\.loss\.bins is no setting of IMSVDLoss; its settings are num_bins, .*",
    ),
    "a misspelt class": (
        IMSVD,
        ["model.head.loss.type=IMSVDLos"],
        r"model\.head\.loss\.type must be the name of a registered class such as 'imsvd_plugins\.IMSVDLoss', got .*",
    ),
    "a kernel that does not exist": (
        HSIC,
        ["model.head.loss.kernel=rbf"],
        r"model\.head\.loss\.kernel: .* one of 'gaussian', 'imq', .*'rbf'.*",
    ),
    "the other method's head": (
        IMSVD,
        ["model.head.type=imsvd_plugins.HSICHead"],
        r"model\.head of IMSVD must be an imsvd_plugins\.IMSVDHead or a subclass of it, got HSICHead\.",
    ),
    "another package's head": (
        IMSVD,
        ["model.head.type=LatentPredictHead"],
        r"model\.head of IMSVD must be an imsvd_plugins\.IMSVDHead or a subclass of it, got LatentPredictHead\.",
    ),
    "no projector": (IMSVD, ["model.neck=None"], r"model\.neck, the projector, must be given for IMSVD, such as .*"),
    "momentum in the paper's sense, beyond 1": (
        HSIC,
        ["model.base_momentum=1.99"],
        r"model\.base_momentum must be None or in \(0, 1\), and 0\.01 is the paper's 0\.99; got 1\.99\.",
    ),
    "images that are not there": (
        VIT,
        [],
        r"train_dataloader\.dataset: there is no folder data/imagenet/train; see data_root, data_prefix and split\.",
    ),
    "a folder without images": (
        IMAGENETTE,
        ["train_dataloader.dataset.data_root=empty"],
        r"train_dataloader\.dataset: empty/train must hold a folder for each class with images \(\.bmp, .*\)\.",
    ),
    "other classes than ImageNet's": (
        VIT,
        ["train_dataloader.dataset.data_root=others"],
        r"train_dataloader\.dataset: others/train must have a folder for each of the 1000 classes of .*, got 1; .*",
    ),
    "kNN images that are not there": (
        IMAGENETTE,
        ["train_dataloader.dataset.data_root=images", "custom_hooks.0.train_dataloader.dataset.data_root=images"],
        r"custom_hooks\.0\.test_dataloader\.dataset: there is no folder data/imagenette2-160/val; see data_root, .*",
    ),
    "a list of kNN images that is not there": (
        IMAGENETTE,
        [
            *(f"{place}.dataset.data_root=images" for place in ("train_dataloader", "custom_hooks.0.train_dataloader")),
            "custom_hooks.0.test_dataloader.dataset.data_root=images",
            "custom_hooks.0.test_dataloader.dataset.ann_file=val.txt",
        ],
        r"custom_hooks\.0\.test_dataloader\.dataset\.ann_file: there is no file images/val\.txt\.",
    ),
    "a recipe for a folder of images without the folder": (
        IMAGES,
        [],
        r"data_root must be given, a folder of images: --cfg-options data_root=FOLDER\.",
    ),
    "a file in place of the folder": (
        IMAGES,
        ["data_root=here.pth"],
        r"data_root must be a folder of images, and 'here\.pth' is a file: --cfg-options data_root=FOLDER\.",
    ),
    "a folder of other files": (
        IMAGES,
        ["data_root=images/meta"],
        r"data_root must be a folder with images \(.*\), and images/meta has none among 2 files \(\.txt\)\.",
    ),
    "fewer images than the batch": (
        IMAGES,
        ["data_root=images"],
        r"train_dataloader\.dataset has 2 images, .* \(256 x 1 process\), .*: set train_dataloader\.batch_size to 2 .*",
    ),
    "one image": (
        IMAGES,
        ["data_root=others"],
        r"train_dataloader\.dataset has 1 images, fewer than the global batch .*, so .*: add images\.",
    ),
    "a labelled folder that is not there": (
        IMAGES,
        ["data_root=images", "labelled_root=absent"],
        r"labelled_root must be a folder of images, and 'absent' does not exist: --cfg-options labelled_root=FOLDER\.",
    ),
    "a labelled folder of one class": (
        IMAGES,
        ["data_root=images", "train_dataloader.batch_size=2", "labelled_root=others"],
        r"labelled_root must be .* for each class, two at least; others has 1\.",
    ),
    "fewer kNN images than neighbours": (
        IMSVD,
        ["custom_hooks.0.train_dataloader.dataset.indices=19"],
        r"train_dataloader of KNNEvalHook must have at least 20 images \(k = 20, number of processes 1\), got 19\.",
    ),
    "no neighbours": (IMSVD, ["custom_hooks.0.k=0"], r"k of KNNEvalHook must be an int >= 1, got 0\."),
    "other data that are not there": (
        "resnet50_1xb64-coslr-100e_dtd",
        ["model.backbone.init_cfg.checkpoint=here.pth"],
        r"train_dataloader\.dataset: \[Errno 2\] No such file or directory: 'data/dtd/imdb/imdb\.mat'",
    ),
    "a probe without its checkpoint": (
        PROBE,
        [],
        r"model\.backbone\.init_cfg\.checkpoint must be a checkpoint's file, and '' is none: --cfg-options .*=FILE\.",
    ),
    "a checkpoint that is not there": (
        PROBE,
        ["model.backbone.init_cfg.checkpoint=epoch_60.pth"],
        r"model\.backbone\.init_cfg\.checkpoint must be a checkpoint's file, and 'epoch_60\.pth' is none: .*",
    ),
    "weights to begin with that are not there": (
        IMSVD,
        ["load_from=epoch_60.pth"],
        r"load_from must be a checkpoint's file, and 'epoch_60\.pth' is none\.",
    ),
    "a stock warm-up longer than the training": (
        "barlow_twins.py",
        ["train_cfg.max_epochs=5"],
        r"param_scheduler\.1\.begin of CosineAnnealingLR must be smaller than train_cfg\.max_epochs \(5\), got 10: .*",
    ),
    "a schedule that ends where it begins": (
        "barlow_twins.py",
        ["train_cfg.max_epochs=100", "param_scheduler.1.end=10"],
        r"param_scheduler\.1\.begin of CosineAnnealingLR must be smaller than param_scheduler\.1\.end \(10\), got 10\.",
    ),
    "a stock config with a batch larger than the dataset": (
        "barlow_twins.py",
        ["train_dataloader.batch_size=64"],
        r"train_dataloader\.dataset has 32 images, fewer than the global batch \(64 x 1 process\), .*",
    ),
    "a stock config with another backbone": (
        "barlow_twins.py",
        ["model.backbone.depth=50"],
        r"model\.neck\.in_channels must be the width of the backbone's output, 2048 of ResNet, got 512\.",
    ),
    "a stock config with pseudo_collate": (
        "barlow_twins.py",
        ["train_dataloader.collate_fn.type=pseudo_collate"],
        r"train_dataloader\.collate_fn must be dict\(type='default_collate'\) for BarlowTwins, got .*",
    ),
}  # fmt: skip


class NoFirstStep(Hook):
    # Low, so that it comes after the hooks that look at the data.
    priority = "LOWEST"

    def before_train(self, runner):
        raise AssertionError("it came to the first step")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("wrong_turns")
    (path / "barlow_twins.py").write_text(BARLOW_TWINS)
    (path / "here.pth").touch()
    (path / "empty/train/n01").mkdir(parents=True)
    (path / "images/meta").mkdir(parents=True)
    for root, split in (("images", "train"), ("images", "val"), ("others", "train")):
        (path / root / split / "n01").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(path / root / split / "n01/1.png")
        (path / "images/meta" / f"{split}.txt").write_text("n01/1.png 0\n")
    return path


@pytest.fixture
def main(folder, monkeypatch):
    """The command, in this process; weights do not matter here, and drawing them takes most of the time."""
    monkeypatch.chdir(folder)
    for name in ("kaiming_uniform_", "kaiming_normal_", "trunc_normal_"):
        monkeypatch.setattr(f"torch.nn.init.{name}", lambda tensor, *args, **kwargs: tensor)
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)

    def run(config, options, hook):
        # mmengine names a run's logger by its experiment and the second, and several turns end within one.
        options = [*options, f"experiment_name={uuid.uuid4().hex}"]
        before_train = CheckedRunner.train
        monkeypatch.setattr(CheckedRunner, "train", lambda runner: runner.register_hook(hook) or before_train(runner))
        train.main([config, "--work-dir", "work", "--cfg-options", *options])

    return run


@pytest.mark.parametrize("turn", WRONG_TURNS)
def test_a_wrong_turn_ends_in_one_line(turn, main):
    config, options, pattern = WRONG_TURNS[turn]
    # Of the views alone nothing is known before.
    hook = Hook() if turn == "one view" else NoFirstStep()
    with pytest.raises(SystemExit) as stopped:
        main(config, options, hook)
    # Python prints it and exits with status 1.
    assert isinstance(stopped.value.code, str)
    line = stopped.value.code
    assert re.fullmatch(f"imsvd-plugins train: {pattern}", line), line


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        (
            IMSVD,
            ["model.head.loss.num_bins=128"],
            "num_bins = 128 with a batch of 256: the joint entropy of two variables cannot exceed log 256 for one-hot "
            "codes, far from 2 log 128. Near 16 bins, or a larger batch, the two meet.",
        ),
        (
            "barlow_twins.py",
            ["train_cfg.max_epochs=5", "param_scheduler.1.end=300"],
            "param_scheduler.0.end of LinearLR is 10, and the training ends at 5 (train_cfg.max_epochs): the schedule "
            "does not get to its end.",
        ),
        (
            "resnet50_8xb512-linear-coslr-90e_in1k",
            [
                *(f"{place}_dataloader.dataset.data_root=images" for place in ("train", "val")),
                "model.backbone.init_cfg=None",
            ],
            "param_scheduler.0.end of LinearLR is 100, and the training ends at 90 (iterations): the schedule does not "
            "get to its end.",
        ),
    ],
)  # fmt: skip
def test_what_is_merely_unwise_is_a_warning(config, options, expected, main, monkeypatch):
    lines = []
    monkeypatch.setattr(MMLogger, "warning", lambda self, message, *args, **_: lines.append(message % args))
    with pytest.raises(AssertionError, match="it came to the first step"):
        main(config, options, NoFirstStep())
    assert expected in lines


def test_what_is_no_config_error_keeps_its_traceback(main):
    with pytest.raises(AssertionError, match="it came to the first step"):
        main(IMSVD, [], NoFirstStep())


class Tokens(torch.nn.Module):
    """A user's neck, which takes all tokens of a vision transformer."""

    def __init__(self):
        super().__init__()
        self.projection = torch.nn.Linear(192, 8)

    def forward(self, inputs):
        return (self.projection(inputs[-1]).mean(dim=1),)


# A backbone, a neck, the neck's in_channels and the side of the images.
LEGITIMATE = {
    "a neck of the user's own on all tokens": (
        {"type": "VisionTransformer", "arch": "deit-tiny", "img_size": 32, "out_type": "raw"},
        Tokens,
        192,
        32,
    ),
    "LinearNeck on the last of two stages": (
        {"type": "ResNet", "depth": 18, "out_indices": (2, 3)},
        lambda: LinearNeck(512, 8, gap_dim=2),
        512,
        64,
    ),
    "LinearNeck without pooling": (
        {"type": "ResNet", "depth": 18},
        lambda: LinearNeck(512 * 4, 8, gap_dim=0),
        512 * 4,
        64,
    ),
    "no pooling of maps of one place": (
        {"type": "ResNet", "depth": 18},
        lambda: NonLinearNeck(512, 8, 8, with_avg_pool=False),
        512,
        32,
    ),
}


@pytest.mark.parametrize("case", LEGITIMATE)
def test_a_neck_that_works_is_not_refused(case):
    config, neck, width, side = LEGITIMATE[case]
    model = torch.nn.Module()
    model.backbone, model.neck = MODELS.build({**config, "_scope_": "mmpretrain"}), neck()
    check_model(model, {"neck": {"in_channels": width}})
    (output,) = model.neck(model.backbone(torch.zeros(2, 3, side, side)))
    assert output.shape == (2, 8)


def test_mmpretrains_own_tool_stops_too(main):
    with pytest.raises(ConfigValueError, match="1438 images, fewer than the global batch"):
        train._run_tool(
            "train",
            [
                str(shipped_configs.resolve_config(IMSVD)),
                "--work-dir",
                "work",
                "--cfg-options",
                "train_dataloader.batch_size=4096",
            ],
        )


def test_the_line_comes_last_and_all_ranks_exit(tmp_path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "localhost:0", "--log-dir", str(tmp_path / "ranks"), "--redirects", "3"]
    command += [
        "-m",
        "imsvd_plugins.cli",
        "train",
        IMSVD,
        "--launcher",
        "pytorch",
        "--work-dir",
        str(tmp_path / "work"),
    ]
    command += ["--cfg-options", "train_dataloader.batch_size=1024"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 1
    line = "imsvd-plugins train: train_dataloader.dataset has 1438 images, fewer than the global batch (1024 x 2 "
    for rank in range(2):
        [errors] = tmp_path.glob(f"ranks/*/attempt_0/{rank}/stderr.log")
        assert errors.read_text().splitlines()[-1].startswith(line)
        assert "Traceback" not in errors.read_text()
