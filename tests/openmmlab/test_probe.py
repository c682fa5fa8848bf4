"""The linear probe that learns beside the pretraining."""

import json

import pytest
import torch
from mmengine.config import ConfigDict

from imsvd_plugins.openmmlab import OnlineProbeHook

CONFIG = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
HOOK = {"type": "imsvd_plugins.OnlineProbeHook"}


def probe_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, OnlineProbeHook))


def test_training_goes_on_as_without_it(small, run, tmp_path):
    without = run(small(CONFIG), tmp_path / "without")
    with_it = run(small(CONFIG, custom_hooks=[HOOK]), tmp_path / "with")
    for name, value in without.model.state_dict().items():
        assert torch.equal(value, with_it.model.state_dict()[name]), name


def test_it_is_no_part_of_the_model(small, run):
    runner = run(small(CONFIG, custom_hooks=[HOOK]))
    probe = set(probe_of(runner)._probe.parameters())
    trained = {parameter for group in runner.optim_wrapper.param_groups for parameter in group["params"]}
    assert len(probe) == 2
    assert not probe & (trained | set(runner.model.parameters()))
    assert not runner.model.backbone._forward_hooks


def test_it_learns_and_the_log_shows_it(small, run, tmp_path):
    cfg = small(CONFIG, custom_hooks=[{**HOOK, "lr": 0.1}], **{"train_cfg.max_epochs": 30})
    # The same features again and again: what rises is the probe.
    cfg.train_dataloader.dataset.pipeline[0].transforms = [[]]
    cfg.optim_wrapper.optimizer = ConfigDict(type="SGD", lr=0.0)
    cfg.default_hooks.checkpoint.interval = 100
    runner = run(cfg)
    values = runner.message_hub.get_scalar("metrics/probe_top1").data[0].tolist()
    assert len(values) == 30
    assert values[0] < 40
    assert values[-1] > 60
    lines = [json.loads(line) for line in next(tmp_path.rglob("scalars.json")).read_text().splitlines()]
    assert [line["probe_top1"] for line in lines if "probe_top1" in line] == values
    assert f"Epoch(probe) [30]  probe_top1: {values[-1]:.4f}" in next(tmp_path.rglob("*.log")).read_text()


def test_the_accuracy_is_that_of_an_epochs_views(small, run, monkeypatch):
    """Of both views of each image of both batches, before the probe learns from them."""
    seen = []
    monkeypatch.setattr(
        "imsvd_plugins.openmmlab.evaluation.probe.cross_entropy",
        lambda logits, labels, original=torch.nn.functional.cross_entropy: (
            seen.append((logits.argmax(dim=1) == labels).tolist()) or original(logits, labels)
        ),
    )
    runner = run(small(CONFIG, custom_hooks=[HOOK], **{"train_cfg.max_epochs": 1}))
    assert [len(batch) for batch in seen] == [32, 32]
    expected = 100 * sum(map(sum, seen)) / 64
    assert runner.message_hub.get_scalar("metrics/probe_top1").data[0].tolist() == [expected]


def test_a_resumed_probe_goes_on(small, run, tmp_path):
    whole = run(small(CONFIG, custom_hooks=[HOOK], **{"train_cfg.max_epochs": 1}), tmp_path)
    cfg = small(CONFIG, custom_hooks=[HOOK], **{"train_cfg.max_epochs": 1})
    cfg.resume, cfg.load_from = True, str(tmp_path / "epoch_1.pth")
    cfg.train_cfg.max_epochs = 2
    resumed = run(cfg, tmp_path / "resumed")
    optimizer = probe_of(resumed)._optimizer
    assert [int(state["step"]) for state in optimizer.state.values()] == [4, 4]
    assert not torch.equal(probe_of(whole)._probe.weight, probe_of(resumed)._probe.weight)


def test_images_without_labels_are_refused(small, run):
    cfg = small(CONFIG, custom_hooks=[HOOK])
    cfg.train_dataloader.dataset.metainfo = {"classes": ()}
    with pytest.raises(ValueError, match=r"OnlineProbeHook needs labelled images: .* no classes"):
        run(cfg)


def test_a_learning_rate_out_of_range_is_named():
    with pytest.raises(ValueError, match="lr of OnlineProbeHook must be > 0, got 0"):
        OnlineProbeHook(lr=0)
