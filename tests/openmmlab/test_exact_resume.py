"""A run that is interrupted and resumed is the uninterrupted one, bit by bit.

Ranks read this file too, so the host is imported where it is used.
"""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

HSIC = "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits"
IMSVD = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
PROBE = "resnet14-w24_1xb256-linear-coslr-30e_digits"
AVERAGE = {"type": "EMAHook", "ema_type": "ExponentialMovingAverage", "momentum": 0.001}
METHODS = {"IMSVD": (IMSVD, []), "SSL-HSIC with a target network and averaged weights": (HSIC, [AVERAGE])}
TARGET = {
    "model.base_momentum": 0.01,
    "model.head.predictor": {
        "type": "NonLinearNeck",
        "in_channels": 32,
        "hid_channels": 32,
        "out_channels": 32,
        "with_avg_pool": False,
    },
}
CLOCK = ("time", "data_time", "eta", "memory")


@pytest.fixture
def config(small):
    """A small config of a method, with all that is evaluated during pretraining; two iterations an epoch."""

    def load(method="IMSVD", epochs=4, **options):
        name, hooks = METHODS[method]
        dataset = {"type": "Digits", "pipeline": [{"type": "PackInputs"}], "indices": 40}
        loaders = {
            f"{split}_dataloader": {"batch_size": 40, "num_workers": 0, "dataset": {**dataset, "split": split}}
            for split in ("train", "test")
        }
        cfg = small(name, **{**(TARGET if hooks else {}), "train_cfg.max_epochs": epochs, **options})
        cfg.custom_hooks = [
            {"type": "imsvd_plugins.KNNEvalHook", **loaders},
            {"type": "imsvd_plugins.OnlineProbeHook"},
            {"type": "imsvd_plugins.RepresentationHook", "num_samples": 16},
            *hooks,
        ]
        return cfg

    return load


@pytest.fixture
def probe(small):
    """A linear probe with a validation after each of four epochs."""

    def load(**options):
        cfg = small(
            PROBE,
            **{
                "train_cfg.max_epochs": 4,
                "train_cfg.val_interval": 1,
                "val_dataloader.dataset.indices": 32,
                "default_hooks.checkpoint.save_best": "auto",
                "default_hooks.checkpoint.max_keep_ckpts": 4,
                **options,
            },
        )
        del cfg.model.neck["in_channels"], cfg.model.neck["hid_channels"], cfg.model.neck["out_channels"]
        cfg.model.head.in_channels = 32
        cfg.model.backbone.pop("init_cfg")
        # The probe's own images are not augmented.
        cfg.train_dataloader.dataset.pipeline = [{"type": "RandomFlip", "prob": 0.5}, {"type": "PackInputs"}]
        return cfg

    return load


def assert_same(a, b, path="checkpoint"):
    """Two checkpoints' contents are the same to the last bit, clock times and names of runs aside."""
    assert type(a) is type(b), path
    if isinstance(a, dict):
        named = ("meta", "cfg", "experiment_name", "last_ckpt", "best_ckpt")
        keys = [[key for key in x if str(key).rpartition("/")[2] not in (*CLOCK, *named)] for x in (a, b)]
        assert keys[0] == keys[1], path
        for key in keys[0]:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{path}[{index}]")
    elif hasattr(a, "statistics"):  # mmengine's HistoryBuffer
        for pair in zip(a.data, b.data, strict=True):
            np.testing.assert_array_equal(*pair, err_msg=path)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


def logged(work_dir):
    """All values that the runs in a folder have logged, by step and name; a later run's must be an earlier one's."""
    values = {}
    for path in sorted(work_dir.rglob("scalars.json")):
        for line in path.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                continue  # the process was killed while it wrote
            entry = json.loads(line)
            kind = "step" if "loss" in entry else "evaluation"  # a step's line repeats the last evaluation
            for key in entry.keys() - set(CLOCK):
                assert values.setdefault((kind, entry["step"], key), entry[key]) == entry[key], (path, line)
    return values


def last_of(work_dir):
    return torch.load((work_dir / "last_checkpoint").read_text(), weights_only=False)


def log_of(runner):
    return next(Path(runner.log_dir).glob("*.log")).read_text()


class TestResumed:
    """From a checkpoint in the middle of the whole run, by a runner that begins anew."""

    def compare(self, load, run, tmp_path, checkpoint, **changed):
        run(load(), tmp_path / "whole")
        cfg = load()
        cfg.merge_from_dict(changed)
        cfg.resume, cfg.load_from = True, str(tmp_path / "whole" / checkpoint)
        random.seed(5)
        resumed = run(cfg, tmp_path / "resumed")
        assert resumed.iter == resumed.max_iters
        assert_same(last_of(tmp_path / "resumed"), last_of(tmp_path / "whole"))
        assert logged(tmp_path / "resumed").items() <= logged(tmp_path / "whole").items()
        assert "does not go on exactly" not in log_of(resumed)
        assert "The schedule is not the one" not in log_of(resumed)
        return resumed

    @pytest.mark.parametrize("method", METHODS)
    def test_between_epochs(self, config, run, tmp_path, method):
        # Without a seed in the config each process draws another one, for the order of the images too.
        def load():
            return config(method, **{"randomness.seed": None, "default_hooks.checkpoint.max_keep_ckpts": 4})

        self.compare(load, run, tmp_path, "epoch_2.pth")

    def test_with_other_loader_workers(self, config, run, tmp_path):
        # DropPath draws from the process' own generator, beside the loader.
        workers = {"train_dataloader.num_workers": 2, "train_dataloader.persistent_workers": True}
        model = {"model.backbone.drop_path_rate": 0.5}
        resumed = self.compare(lambda: config(epochs=3, **model), run, tmp_path, "epoch_2.pth", **workers)
        assert resumed.train_dataloader.num_workers == 2

    @pytest.mark.parametrize(("sampler", "workers"), [("InfiniteSampler", 1), ("DefaultSampler", 0)])
    def test_between_iterations(self, config, run, tmp_path, sampler, workers, monkeypatch):
        # mmengine waits two seconds at the end of each pass through the images.
        monkeypatch.setattr("mmengine.runner.loops.time.sleep", lambda seconds: None)

        def load():
            cfg = config(
                **{
                    "train_dataloader.sampler.type": sampler,
                    "default_hooks.checkpoint.by_epoch": False,
                    "default_hooks.checkpoint.interval": 3,
                    "default_hooks.checkpoint.max_keep_ckpts": 3,
                    "param_scheduler": [{"type": "CosineAnnealingLR", "by_epoch": False, "T_max": 7}],
                    "train_dataloader.num_workers": workers,
                    "randomness.seed": None if workers == 0 else 3,
                }
            )
            cfg.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": 7}
            cfg.log_processor = {"by_epoch": False}
            return cfg

        self.compare(load, run, tmp_path, "iter_3.pth")

    # The validation of epoch 1 finds a new best and saves the epoch again; that of epoch 2 comes after the saving.
    @pytest.mark.parametrize("checkpoint", ["epoch_1.pth", "epoch_2.pth"])
    def test_beside_a_validation(self, probe, run, tmp_path, checkpoint):
        self.compare(probe, run, tmp_path, checkpoint)

    def test_the_last_validation_is_made_up_for(self, probe, run, tmp_path):
        run(probe(), tmp_path / "whole")
        resumed = run(probe(resume=True, load_from=str(tmp_path / "whole" / "epoch_4.pth")), tmp_path / "resumed")
        assert resumed.message_hub.get_scalar("val/accuracy/top1").data[1].sum() == 4
        assert logged(tmp_path / "resumed").items() <= logged(tmp_path / "whole").items()
        assert ("evaluation", 4, "accuracy/top1") in logged(tmp_path / "resumed")


def rates(work_dir):
    """The learning rate of each iteration."""
    values = {(step, key): value for (_, step, key), value in logged(work_dir).items()}
    return [values[key] for key in sorted(values) if key[1] == "lr"]


class TestAnotherLength:
    """The learning rate goes on as the config's schedule has it, and the log says so."""

    def test_more_epochs(self, config, run, tmp_path):
        schedule = [
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 3},
            {"type": "CosineAnnealingLR", "by_epoch": True, "begin": 2},
        ]
        options = {"param_scheduler": schedule}
        run(config(epochs=3, **options), tmp_path / "parts")
        resumed = run(config(epochs=5, resume=True, **options), tmp_path / "parts")
        run(config(epochs=5, **options), tmp_path / "whole")
        found, expected = last_of(tmp_path / "parts"), last_of(tmp_path / "whole")
        assert_same(found["param_schedulers"], expected["param_schedulers"])
        assert_same(found["optimizer"]["param_groups"], expected["optimizer"]["param_groups"])
        assert rates(tmp_path / "parts")[6:] == rates(tmp_path / "whole")[6:]
        assert "goes on where this config's schedule is now, at " in log_of(resumed)

    def test_another_number_of_iterations_in_an_epoch(self, config, run, tmp_path):
        run(config(epochs=2))
        halved = {"train_dataloader.batch_size": 8}
        resumed = run(config(epochs=4, resume=True, **halved))
        assert resumed.iter == resumed.max_iters == 16
        run(config(epochs=4, **halved), tmp_path / "whole")
        assert_same(last_of(tmp_path)["param_schedulers"], last_of(tmp_path / "whole")["param_schedulers"])
        assert "is of iteration 4, and 2 epochs have 8 iterations here. Epoch 3 begins" in log_of(resumed)

    def test_a_checkpoint_amid_an_epoch(self, config, run, tmp_path):
        """The schedule is the same, so the log must not call it another."""
        options = {"default_hooks.checkpoint.by_epoch": False, "default_hooks.checkpoint.max_keep_ckpts": 4}
        run(config(epochs=2, **options), tmp_path / "whole")
        amid = str(tmp_path / "whole" / "iter_3.pth")
        log = log_of(run(config(epochs=2, resume=True, load_from=amid, **options), tmp_path / "resumed"))
        assert "The learning rate is that of the beginning of epoch 2, at " in log
        assert "The schedule is not the one" not in log

    @pytest.mark.parametrize(("end", "count"), [(4, 0), (5, 1)])
    def test_a_schedule_by_validations_is_no_other_for_what_they_were(self, end, count):
        from mmengine.optim import LinearLR, ReduceOnPlateauLR

        from imsvd_plugins.openmmlab.resume.schedule import follow_config

        def schedulers(end):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
            return optimizer, [LinearLR(optimizer, end=end), ReduceOnPlateauLR(optimizer, monitor="accuracy")]

        optimizer, trained = schedulers(4)
        optimizer.step()
        trained[0].step()
        trained[1].step({"accuracy": 0.5})
        logger = Mock()
        runner = SimpleNamespace(param_schedulers=schedulers(end)[1], train_loop=None, logger=logger)
        follow_config(runner, {"meta": {"iter": 2}, "param_schedulers": [part.state_dict() for part in trained]})
        said = [call.args[0] for call in logger.warning.call_args_list]
        assert len(said) == count
        assert all("depends on validations" in line for line in said)


@pytest.mark.parametrize("load_from", [False, True])
def test_without_a_whole_checkpoint_the_command_stops_in_one_line(config, tmp_path, load_from):
    from imsvd_plugins.commands.train import main

    path = tmp_path / "epoch_1.pth"
    path.write_bytes(b"PK")
    config().dump(tmp_path / "config.py")
    words = [str(tmp_path / "config.py"), "--work-dir", str(tmp_path), "--resume", *([str(path)] if load_from else [])]
    with pytest.raises(SystemExit) as stop:
        main(words)
    trouble = f"load_from: {path} was cut off" if load_from else f"{tmp_path} has no last_checkpoint, and "
    assert str(stop.value).startswith(f"imsvd-plugins train: cannot resume: {trouble}")
    assert "\n" not in str(stop.value)


def test_a_run_resumes_from_the_last_whole_checkpoint(config, run, tmp_path):
    run(config(), tmp_path / "whole")
    before = last_of(tmp_path / "whole")
    path = tmp_path / "whole" / "epoch_4.pth"
    path.write_bytes(path.read_bytes()[:10_000])
    resumed = run(config(resume=True), tmp_path / "whole")
    assert "resumed epoch: 3" in log_of(resumed)
    assert "epoch_3.pth, the last whole checkpoint" in log_of(resumed)
    assert_same(last_of(tmp_path / "whole"), before)


class TestWhatIsNotExact:
    """The log says so: beforehand, and as a warning once it is too late."""

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (
                {"train_dataloader.batch_sampler": None},
                "train_dataloader.batch_sampler is not of type imsvd_plugins.SeededBatchSampler",
            ),
            ({"default_hooks.checkpoint.by_epoch": False}, "default_hooks.checkpoint.by_epoch is False"),
        ],
        ids=["batches without seeds", "checkpoints within an epoch"],
    )
    def test_a_config_in_which_it_cannot_be(self, config, run, options, reason):
        assert f"This run cannot be resumed exactly: {reason}" in log_of(run(config(epochs=1, **options)))
        log = log_of(run(config(epochs=2, resume=True, **options)))
        assert f"This run does not go on exactly as the uninterrupted one would: {reason}" in log

    def test_a_checkpoint_from_which_it_cannot_be(self, config, run, tmp_path):
        without = config(epochs=1)
        del without.default_hooks.exact_resume
        run(without)
        changed = {"optim_wrapper.accumulative_counts": 3, "train_dataloader.batch_size": 8}
        log = log_of(run(config(epochs=2, resume=True, **changed)))
        assert "was written without ExactResumeHook" in log
        assert "optim_wrapper.accumulative_counts is 3" in log
        assert "the checkpoint is of iteration 2, and 1 epochs have 4 iterations here" in log

    def test_another_number_of_images(self, config, run):
        run(config(epochs=1))
        log = log_of(run(config(epochs=2, resume=True, **{"train_dataloader.dataset.indices": 31})))
        assert "the checkpoint is of a training on 32 images, and there are 31" in log

    def test_a_single_checkpoint_is_too_few(self, config, run):
        log = log_of(run(config(epochs=1, **{"default_hooks.checkpoint.max_keep_ckpts": 1})))
        assert "WARNING - default_hooks.checkpoint.max_keep_ckpts is 1" in log


def states_of_rank(rank):
    """What a rank draws after the saving, and what it draws in a run that resumes from the checkpoint."""
    with warnings.catch_warnings():
        # What the host warns of at import.
        warnings.simplefilter("ignore")
        from imsvd_plugins.openmmlab.resume.resume_hook import ExactResumeHook

    def draw():
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    random.seed(rank)
    np.random.seed(rank)  # noqa: NPY002
    torch.manual_seed(rank)
    runner = SimpleNamespace(
        iter=4,
        hooks=[],
        logger=logging.getLogger("test"),
        cfg={},
        optim_wrapper=None,
        train_dataloader=torch.utils.data.DataLoader([0, 1]),
        train_loop=None,
        _resume=True,
        param_schedulers=None,
        model=torch.nn.BatchNorm1d(2),
    )
    hook = ExactResumeHook()
    hook.after_train_epoch(runner)
    box = [{}]
    if rank == 0:
        hook.before_save_checkpoint(runner, box[0])
    torch.distributed.broadcast_object_list(box)
    draw()  # of an evaluation, which does not count
    hook.before_train_iter(runner, 0)
    drawn = draw()
    draw()
    resuming = ExactResumeHook()
    resuming.after_load_checkpoint(runner, {**box[0], "meta": {"iter": 4}})
    resuming.before_train(runner)
    resuming.before_train_iter(runner, 0)
    return drawn, draw()


def test_each_rank_has_its_own_states_back(run_on_ranks):
    drawn = run_on_ranks(states_of_rank, 2)
    assert all(before == after for before, after in drawn)
    assert drawn[0] != drawn[1]


def refused_on_a_rank(rank, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from imsvd_plugins.openmmlab.errors import CheckpointError
        from imsvd_plugins.openmmlab.resume.resume_hook import ExactResumeHook

    runner = SimpleNamespace(_resume=True, _load_from=f"{folder}/nowhere.pth")
    with pytest.raises(CheckpointError) as error:
        ExactResumeHook().before_run(runner)
    return str(error.value)


def test_every_rank_stops_without_a_checkpoint(run_on_ranks, tmp_path):
    said = run_on_ranks(refused_on_a_rank, 2, str(tmp_path))
    assert said == [f"cannot resume: load_from: {tmp_path}/nowhere.pth does not exist. Give another one."] * 2


def killed(cfg, work_dir, lines, delay):
    """Trains, or resumes, in a process that is killed a while after it has logged a number of steps.

    Returns:
        Whether it was killed; else it came to the end.
    """
    cfg.dump(work_dir.parent / "config.py")
    command = [sys.executable, "-m", "imsvd_plugins.cli", "train", str(work_dir.parent / "config.py")]
    with subprocess.Popen(
        [*command, "--work-dir", str(work_dir), "--resume"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    ) as process:
        seen = 0
        for line in process.stdout:
            seen += "Epoch(train)" in line or "Checkpoints will be saved" in line
            if seen > lines:
                time.sleep(delay)
                process.kill()
                break
        else:
            assert process.wait() == 0
    return process.returncode == -signal.SIGKILL


def kill_and_compare(config, run, tmp_path, method, kills, epochs, most_lines):
    generator = random.Random(kills)
    run(config(method, epochs), tmp_path / "whole")
    for _ in range(kills):
        # Up to about an iteration after a line: amid a step, an evaluation or the writing of a checkpoint.
        lines, delay = generator.randint(0, most_lines), generator.uniform(0, 0.05)
        assert killed(config(method, epochs), tmp_path / "parts", lines, delay)
    resumed = run(config(method, epochs, resume=True), tmp_path / "parts")
    assert resumed.epoch == epochs
    assert_same(last_of(tmp_path / "parts"), last_of(tmp_path / "whole"))
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


@pytest.mark.parametrize("method", [pytest.param("IMSVD", marks=pytest.mark.slow), *list(METHODS)[1:]])
def test_a_killed_run_comes_to_the_same_end(config, run, tmp_path, method):
    kill_and_compare(config, run, tmp_path, method, kills=1, epochs=8, most_lines=6)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_ten_times_comes_to_the_same_end(config, run, tmp_path, method):
    kill_and_compare(config, run, tmp_path, method, kills=10, epochs=40, most_lines=5)


@pytest.mark.slow
def test_two_ranks_go_on_exactly(config, tmp_path):
    def train(cfg, work_dir):
        cfg.dump(tmp_path / "config.py")
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
        command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "imsvd_plugins.cli", "train"]
        command += [str(tmp_path / "config.py"), "--launcher", "pytorch", "--work-dir", str(work_dir)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    options = {"randomness.seed": None, "default_hooks.checkpoint.max_keep_ckpts": 4}

    def load(**more):
        cfg = config(**options, **more)
        # Without synchronised normalisation each rank would evaluate with statistics of its own.
        cfg.custom_hooks.insert(0, {"type": "SyncBuffersHook"})
        return cfg

    train(load(), tmp_path / "whole")
    train(load(resume=True, load_from=str(tmp_path / "whole" / "epoch_2.pth")), tmp_path / "resumed")
    assert_same(last_of(tmp_path / "resumed"), last_of(tmp_path / "whole"))
    assert logged(tmp_path / "resumed").items() <= logged(tmp_path / "whole").items()
