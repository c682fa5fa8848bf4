"""What mmengine's own hooks make of the metrics measured during pretraining."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hooks import CheckpointHook

CONFIG = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
REPRESENTATION = {"type": "imsvd_plugins.RepresentationHook", "num_samples": 24}
PROBE = {"type": "imsvd_plugins.OnlineProbeHook"}


def saving(cfg, **options):
    cfg.default_hooks.checkpoint.update(options)
    return cfg


def values(runner, name):
    return runner.message_hub.get_scalar(f"metrics/{name}").data[0].tolist()


@pytest.mark.parametrize("rule", ["greater", "less"])
def test_the_best_checkpoint_is_that_of_the_best_epoch(small, run, tmp_path, rule):
    cfg = small(CONFIG, custom_hooks=[PROBE, REPRESENTATION], **{"train_cfg.max_epochs": 3})
    runner = run(saving(cfg, interval=1, max_keep_ckpts=3, save_best="rankme", rule=rule))
    found = values(runner, "rankme")
    best = found.index((max if rule == "greater" else min)(found)) + 1
    (file,) = tmp_path.glob("best_rankme_*.pth")
    assert file.name == f"best_rankme_epoch_{best}.pth"
    weights, whole = (torch.load(path, weights_only=False) for path in (file, tmp_path / f"epoch_{best}.pth"))
    assert all(torch.equal(value, whole["state_dict"][name]) for name, value in weights["state_dict"].items())
    assert weights["meta"]["epoch"] == best
    assert runner.message_hub.get_info("best_score") == found[best - 1]


def test_several_metrics_are_taken_when_all_are_measured(small, run, tmp_path):
    """One hook measures each epoch, the other each second and the last."""
    cfg = small(CONFIG, custom_hooks=[PROBE, {**REPRESENTATION, "interval": 2}], **{"train_cfg.max_epochs": 3})
    runner = run(saving(cfg, interval=1, save_best=["rankme", "probe_top1"], rule="greater"))
    assert [len(values(runner, name)) for name in ("rankme", "probe_top1")] == [2, 3]
    for name, found in (("rankme", values(runner, "rankme")), ("probe_top1", values(runner, "probe_top1")[1:])):
        epoch = (2, 3)[found.index(max(found))]
        assert [path.name for path in tmp_path.glob(f"best_{name}*")] == [f"best_{name}_epoch_{epoch}.pth"]


# One of the rules has its best in the first epoch.
@pytest.mark.parametrize("rule", ["greater", "less"])
def test_a_resumed_run_remembers_the_best(small, run, tmp_path, monkeypatch, rule):
    """It was killed between the checkpoint of the first epoch and the choice of the best."""

    def die(*_):
        raise RuntimeError("killed")

    def load(**options):
        cfg = small(CONFIG, custom_hooks=[REPRESENTATION, PROBE], **{"train_cfg.max_epochs": 2, **options})
        return saving(cfg, interval=1, save_best=["rankme", "probe_top1"], rule=rule)

    whole = run(load(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointHook, "after_val_epoch", die)
        with pytest.raises(RuntimeError, match="killed"):
            run(load(), tmp_path / "parts")
    resumed = run(load(resume=True), tmp_path / "parts")
    assert resumed._resume
    assert values(resumed, "rankme") == values(whole, "rankme")
    for name in ("rankme", "probe_top1"):
        best = [runner.message_hub.get_info(f"best_score_{name}") for runner in (whole, resumed)]
        assert best[0] == best[1]
        paths = [Path(runner.message_hub.get_info(f"best_ckpt_{name}")) for runner in (whole, resumed)]
        assert paths[0].name == paths[1].name
        assert list((tmp_path / "parts").glob(f"best_{name}_*")) == [paths[1]]
        weights = [torch.load(path, weights_only=False)["state_dict"] for path in paths]
        assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_training_stops_early_where_a_metric_stands_still(small, run):
    stop = {"type": "EarlyStoppingHook", "monitor": "rankme", "rule": "greater", "min_delta": 100, "patience": 1}
    cfg = small(CONFIG, custom_hooks=[REPRESENTATION, stop], **{"train_cfg.max_epochs": 5})
    runner = run(cfg)
    assert runner.epoch == 2
    assert len(values(runner, "rankme")) == 2


def test_a_metric_that_nothing_measures_is_refused_before_training(small, run, tmp_path):
    cfg = saving(small(CONFIG, custom_hooks=[REPRESENTATION]), save_best="knn_top1")
    with pytest.raises(ValueError, match=r"save_best of CheckpointHook must be .*\(rankme, .*got 'knn_top1'"):
        run(cfg)
    stop = ConfigDict(type="EarlyStoppingHook", monitor="loss")
    with pytest.raises(ValueError, match=r"monitor of EarlyStoppingHook must be .*\(probe_top1\), got 'loss'"):
        run(small(CONFIG, custom_hooks=[PROBE, stop]))


def test_a_line_of_the_training_holds_what_belongs_to_its_step(small, run, tmp_path):
    run(small(CONFIG, custom_hooks=[PROBE, REPRESENTATION], **{"train_cfg.max_epochs": 3}))
    lines = [json.loads(line) for line in next(tmp_path.rglob("scalars.json")).read_text().splitlines()]
    names = {"step", "epoch", "iter", "lr", "time", "data_time", "loss", "diagonal", "off_diagonal"}
    assert [set(line) for line in lines if "loss" in line] == [names | {"invariance"}] * 6
    at_step = [[name for line in lines if line["step"] == step for name in line] for step in range(1, 7)]
    assert all(names.count(name) == 1 for names in at_step for name in names if name != "step")
    shown = next(tmp_path.rglob("*.log")).read_text().splitlines()
    assert max(len(line) for line in shown if "Epoch(train)" in line) < 250
