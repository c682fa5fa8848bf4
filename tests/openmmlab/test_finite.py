"""NaN images or a NaN loss stop a training of mmengine's, before the broken weights are saved."""

import os
import re
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

from imsvd_plugins import cli
from imsvd_plugins.openmmlab.shipped_configs import resolve_config
from imsvd_plugins.training.finite import NonFiniteError

IMSVD = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
HSIC = "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits"
BAD_IMAGES = {"data_preprocessor": {"type": "SelfSupDataPreprocessor", "mean": [0.0] * 3, "std": [0.0] * 3}}
BAD_WEIGHTS = {"optim_wrapper.optimizer.lr": 1e37, "param_scheduler": []}


@pytest.mark.parametrize(
    ("name", "options", "place", "what"),
    [
        (HSIC, BAD_IMAGES, "epoch 1, iteration 1 of 2", "the images hold NaN or infinite values"),
        (IMSVD, BAD_WEIGHTS, "epoch 1, iteration 2 of 2", r"loss, .* became NaN or infinite, with finite images"),
    ],
)
def test_a_training_stops_where_it_went_wrong_and_saves_nothing(name, options, place, what, small, run, tmp_path):
    with pytest.raises(NonFiniteError, match=f"training stopped at {place}: {what}"):
        run(small(name, **options))
    assert not list(tmp_path.rglob("*.pth"))


def test_a_training_by_iterations_stops_too(small, run):
    cfg = small(IMSVD, **BAD_WEIGHTS)
    cfg.train_cfg = {"by_epoch": False, "max_iters": 3}
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)
    cfg.default_hooks.logger.update(log_metric_by_epoch=False)
    with pytest.raises(NonFiniteError, match="training stopped at iteration 2 of 3: loss, "):
        run(cfg)


@pytest.mark.parametrize("algorithm", ["BarlowTwins", "BYOL"])
def test_in_algorithms_of_mmpretrains_own_the_projections_are_watched(algorithm, small, run):
    options = {"model.type": algorithm, **BAD_IMAGES}
    name, further = (IMSVD, {}) if algorithm == "BarlowTwins" else (HSIC, {"model.base_momentum": 0.01})
    with pytest.raises(NonFiniteError, match="at epoch 1, iteration 1 of 2: the projections hold NaN"):
        run(small(name, **options, **further))


def test_it_can_be_switched_off(small, run, tmp_path):
    run(small(IMSVD, **BAD_IMAGES, **{"model.head.check_finite": False}))
    assert (tmp_path / "epoch_2.pth").exists()


class NoHostRead(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "the host reads a value"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("name", "look"), [(IMSVD, 49), (HSIC, 69)])
def test_a_step_amid_an_epoch_does_not_make_the_host_wait(name, look):
    """The next look is in the fiftieth iteration, as if a checkpoint followed, or in the epoch's last."""
    init_default_scope("mmpretrain")
    cfg = Config.fromfile(resolve_config(name))
    if name == HSIC:
        cfg.model.base_momentum = None  # mmengine's averages read their number of steps
    model = MODELS.build(cfg.model)
    model.head.loss_module.eval()  # the kernel scale's Adam counts its steps, on the host, in a tensor
    views = list(torch.rand(2, 16, 3, 16, 16))
    hub = MessageHub.get_current_instance()
    hub.update_info_dict({"epoch": 0, "iter": 0, "max_epochs": 2, "max_iters": 140})
    with NoHostRead():
        model.loss(views, [])["loss"].backward()
        views[1][2, 1, 0, 3] = float("nan")
        model.loss(views, [])
    hub.update_info("iter", look)
    with pytest.raises(NonFiniteError, match="at epoch 1, iteration 1 of 70: the images"):
        model.loss(views, [])


TINY = ["batch_size=16", "num_workers=0", "persistent_workers=False", "dataset.indices=64", "pin_memory=False"]


def options(**further):
    words = [f"train_dataloader.{word}" for word in TINY]
    words += ["custom_hooks=[]", "train_cfg.max_epochs=2", "data_preprocessor.type=SelfSupDataPreprocessor"]
    return ["--cfg-options", *words, *(f"{key}={value}" for key, value in further.items())]


def test_the_command_ends_in_a_line(tmp_path, capsys):
    words = ["train", IMSVD, "--work-dir", str(tmp_path), *options(**{"data_preprocessor.std": "[0,0,0]"})]
    words += ["data_preprocessor.mean=[0,0,0]"]
    assert cli.main(words) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("imsvd-plugins: training stopped at epoch 1, iteration 1 of 4: the images hold NaN")


@pytest.mark.slow
def test_two_ranks_stop_together(tmp_path):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    command += ["-m", "imsvd_plugins.cli", "train", IMSVD, "--launcher", "pytorch", "--work-dir", str(tmp_path)]
    command += options(**{"optim_wrapper.optimizer.lr": 1e37, "param_scheduler": "[]"})
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 1
    # The launcher ends the rank that is the later by a moment.
    places = set(re.findall(r"imsvd-plugins: training stopped at (.*?) became NaN", done.stderr))
    assert places == {"epoch 1, iteration 2 of 2: loss, diagonal, off_diagonal, invariance"}, done.stderr[-3000:]
    assert not list(tmp_path.rglob("*.pth"))
