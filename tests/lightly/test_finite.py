"""NaN images or a NaN loss stop a training of Lightning's, before the broken weights are saved."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch._dynamo.eval_frame import _debug_get_cache_entry_list
from torch.utils._python_dispatch import TorchDispatchMode

from imsvd_plugins import cli
from imsvd_plugins.functional import IMSVDTerms
from imsvd_plugins.lightly import IMSVD
from imsvd_plugins.training.finite import NonFiniteError

pytestmark = [
    # LightningCLI uses what jsonargparse is giving up.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]

BOTH = pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
DIGITS = Path(__file__).parents[2] / "lightly_examples" / "configs" / "imsvd_digits.yaml"


@BOTH
@pytest.mark.parametrize("save_every_step", [False, True])
def test_a_nan_in_an_image_is_said_and_nothing_broken_is_saved(
    method, save_every_step, small_model, loaders, make_trainer, tmp_path
):
    views, *_ = loaders[0].dataset[17]  # of the third batch of eight
    views[1][0, 3, 4] = float("nan")
    saving = ModelCheckpoint(
        tmp_path, filename="{step}", save_top_k=-1, **{"every_n_train_steps": 1} if save_every_step else {}
    )
    trainer = make_trainer(max_epochs=2, enable_checkpointing=True, callbacks=[saving])
    with pytest.raises(NonFiniteError, match="training stopped at epoch 0, step 2: the images hold NaN or infinite"):
        trainer.fit(small_model(method), *loaders)
    saved = [torch.load(path, weights_only=True) for path in tmp_path.glob("*.ckpt")]
    assert len(saved) == (2 if save_every_step else 0)
    assert all(tensor.isfinite().all() for checkpoint in saved for tensor in checkpoint["state_dict"].values())


@BOTH
def test_a_nan_among_the_weights_is_the_losses_fault(method, small_model, loaders, make_trainer):
    model = small_model(method)
    model.warmup_epochs = 0
    with torch.no_grad():
        model.projection_head.layers[0].weight[0, 0] = float("nan")
    # Amid an epoch, and without a checkpoint.
    trainer = make_trainer(max_steps=2, limit_val_batches=0)
    with pytest.raises(NonFiniteError, match=r"at epoch 0, step 0: loss, .* became NaN or infinite, with"):
        trainer.fit(model, *loaders)


def test_it_can_be_switched_off(small_model, loaders, make_trainer):
    parts = small_model("imsvd")
    settings = {"backbone": parts.backbone, "projection_head": parts.projection_head, "criterion": parts.criterion}
    model = IMSVD(8, 10, warmup_epochs=1, check_finite=False, **settings)
    with torch.no_grad():
        model.projection_head.layers[0].weight[0, 0] = float("nan")
    make_trainer(max_epochs=1).fit(model, *loaders)
    assert model.backbone[0].weight.isnan().any()


class NoHostRead(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "the host reads a value"
        return func(*args, **(kwargs or {}))


@BOTH
def test_a_step_does_not_make_the_host_wait(method, small_model, loaders):
    model = small_model(method)
    model.log = model.log_dict = lambda *args, **kwargs: None
    model.criterion.eval()  # the kernel scale's Adam counts its steps, on the host, in a tensor
    model.online_classifier.training_step = lambda batch, batch_idx: (torch.zeros(()), {})
    batch = next(iter(loaders[0]))
    with NoHostRead():
        model.training_step(batch, 0).backward()


def test_the_command_ends_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--trainer.max_epochs=3", "--trainer.default_root_dir=.", "--trainer.enable_progress_bar=false"]
    words += ["--model.init_args.optimizer.init_args.lr=1e37", "--model.init_args.warmup_epochs=1"]
    assert cli.main(["lightly", "fit", "--config", str(DIGITS), *words]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("imsvd-plugins: training stopped at epoch 0, step 1: loss, diagonal, off_diagonal, ")
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.slow
def test_two_ranks_stop_together(tmp_path):
    settings = ["accelerator=cpu", "devices=2", "strategy=ddp", "max_epochs=3", "default_root_dir=."]
    words = ["lightly", "fit", "--config", str(DIGITS), *(f"--trainer.{setting}" for setting in settings)]
    words += ["--model.init_args.optimizer.init_args.lr=1e37", "--trainer.num_sanity_val_steps=0"]
    done = subprocess.run(
        [sys.executable, str(Path(sys.executable).with_name("imsvd-plugins")), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    stops = re.findall(r"imsvd-plugins: training stopped at epoch 0, step 1: (.*?) became NaN", done.stderr)
    assert stops
    assert set(stops) == {"loss, diagonal, off_diagonal, invariance"}
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_compiled_step_leaves_the_watch_as_it_is(small_model):
    """It would be compiled anew for each step, whose place is in it."""
    module = small_model("imsvd")

    @torch.compile(backend="eager")
    def step(x):
        module.watch([x], IMSVDTerms(*[x.sum()] * len(IMSVDTerms._fields)))
        return x + 1

    step(torch.ones(2))
    assert not _debug_get_cache_entry_list(inspect.unwrap(IMSVD.watch).__code__)
