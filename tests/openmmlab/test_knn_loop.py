"""kNN evaluation of a finished checkpoint by a config alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from sklearn.neighbors import KNeighborsClassifier

import imsvd_plugins
from imsvd_plugins.commands import train
from imsvd_plugins.data.digits import load_digits
from imsvd_plugins.openmmlab import KNNLoop, shipped_configs

PRETRAINING = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
EVALUATION = "resnet14-w24_1xb256-knn_digits"
COUNTS = {"train": 101, "test": 51}
NARROW = ["model.backbone.base_channels=8"]
SUBSETS = [
    f"test_dataloader.dataset.indices={COUNTS['test']}",
    f"test_cfg.train_dataloader.dataset.indices={COUNTS['train']}",
]
TOOL = Path(imsvd_plugins.__file__).parent / ".mim" / "tools" / "test.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pretraining")


@pytest.fixture
def pretrained(folder, small, run):
    """A checkpoint, and what KNNEvalHook found before it was written."""
    if not (folder / "found").exists():
        cfg = small(PRETRAINING)
        evaluation = Config.fromfile(shipped_configs.resolve_config(EVALUATION))
        loaders = {
            "train_dataloader": evaluation.test_cfg.train_dataloader,
            "test_dataloader": evaluation.test_dataloader,
        }
        for split, loader in zip(COUNTS, loaders.values(), strict=True):
            loader.dataset.indices = COUNTS[split]
        cfg.custom_hooks = [{"type": "imsvd_plugins.KNNEvalHook", "k": [20, 1], **loaders}]
        scalars = run(cfg, folder).message_hub
        found = {key: scalars.get_scalar(f"metrics/{key}").current() for key in ("knn_top1_k20", "knn_top1_k1")}
        (folder / "found").write_text(json.dumps(found))
    return folder / "epoch_2.pth", json.loads((folder / "found").read_text())


def evaluation(checkpoint, tmp_path, **options):
    cfg = Config.fromfile(shipped_configs.resolve_config(EVALUATION))
    pairs = dict(option.split("=") for option in (*NARROW, *SUBSETS))
    cfg.merge_from_dict({key: int(value) for key, value in pairs.items()})
    cfg.merge_from_dict({"load_from": str(checkpoint), "work_dir": str(tmp_path), **options})
    cfg.experiment_name = f"knn-{tmp_path.name}-{len(options)}"
    return cfg


def by_scikit_learn(checkpoint, k):
    """From the weights to the accuracy without a loader, a registry or a line of the loop."""
    from mmpretrain.models.backbones import ResNet_CIFAR

    options = Config.fromfile(shipped_configs.resolve_config(EVALUATION)).model.backbone
    backbone = ResNet_CIFAR(**{key: value for key, value in options.items() if key != "type"} | {"base_channels": 8})
    state = torch.load(checkpoint, weights_only=False)["state_dict"]
    prefix = "backbone."
    backbone.load_state_dict({key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)})
    backbone.eval()
    sets = []
    for split, count in COUNTS.items():
        images, labels = load_digits(split, 16)
        pixels = (torch.from_numpy(images[:count]).permute(0, 3, 1, 2).float() - 78) / 96
        with torch.no_grad():
            sets += [backbone(pixels)[-1].mean(dim=(2, 3)).numpy(), labels[:count]]
    votes = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / 0.07)
    )
    return 100 * votes.fit(*sets[:2]).score(*sets[2:])


class TestNumbers:
    def test_they_are_scikit_learns_and_the_hooks(self, pretrained, tmp_path):
        checkpoint, found = pretrained
        runner = Runner.from_cfg(evaluation(checkpoint, tmp_path, **{"test_cfg.k": [20, 1]}))
        result = runner.test()
        assert result == pytest.approx(found)
        assert result["knn_top1_k20"] == pytest.approx(by_scikit_learn(checkpoint, 20))
        assert 20 < result["knn_top1_k20"] < 100
        assert runner.message_hub.get_scalar("test/knn_top1_k20").current() == result["knn_top1_k20"]

    def test_the_pretraining_itself_can_be_the_model(self, small, pretrained, tmp_path):
        checkpoint, found = pretrained
        cfg = evaluation(checkpoint, tmp_path)
        pretraining = small(PRETRAINING)
        cfg.model, cfg.data_preprocessor = pretraining.model, pretraining.data_preprocessor
        assert Runner.from_cfg(cfg).test() == {"knn_top1": pytest.approx(found["knn_top1_k20"])}

    def test_a_sampler_of_the_configs_own_changes_nothing(self, pretrained, tmp_path):
        checkpoint, found = pretrained
        shuffled = {"sampler": {"type": "DefaultSampler", "shuffle": True}, "drop_last": True, "batch_size": 32}
        options = {f"test_dataloader.{key}": value for key, value in shuffled.items()}
        cfg = evaluation(checkpoint, tmp_path, **options)
        assert Runner.from_cfg(cfg).test() == {"knn_top1": pytest.approx(found["knn_top1_k20"])}


class TestCommand:
    def test_one_process_writes_the_figure_where_it_is_asked_to(self, pretrained, tmp_path, monkeypatch):
        checkpoint, found = pretrained
        monkeypatch.setenv("LOCAL_RANK", "0")  # which the tool would leave behind
        out = tmp_path / "metrics.json"
        options = ["--out", str(out), "--out-item", "metrics", "--no-pin-memory", "--cfg-options", *NARROW, *SUBSETS]
        train.main([EVALUATION, str(checkpoint), "--work-dir", str(tmp_path), *options], tool="test")
        assert json.loads(out.read_text()) == {"knn_top1": pytest.approx(found["knn_top1_k20"])}
        assert f"knn_top1: {found['knn_top1_k20']:.4f}" in next(tmp_path.rglob("*.log")).read_text()

    def test_predictions_are_not_to_be_had(self, pretrained, tmp_path, monkeypatch):
        monkeypatch.setenv("LOCAL_RANK", "0")
        options = ["--out", str(tmp_path / "predictions.pkl"), "--cfg-options", *NARROW, *SUBSETS]
        with pytest.raises(SystemExit, match="`--out` needs `--out-item metrics`"):
            train.main([EVALUATION, str(pretrained[0]), "--work-dir", str(tmp_path), *options], tool="test")

    def test_two_ranks_find_the_same(self, pretrained, tmp_path):
        checkpoint, found = pretrained
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONFAULTHANDLER": "1"}
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
        command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
        # The script that `mim test` starts.
        command += [str(TOOL), EVALUATION, str(checkpoint), "--launcher", "pytorch", "--work-dir", str(tmp_path)]
        done = subprocess.run(
            [*command, "--cfg-options", *NARROW, *SUBSETS], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"knn_top1: {found['knn_top1_k20']:.4f}" in next(tmp_path.rglob("*.log")).read_text()

    def test_a_wrong_name_is_this_tools_error(self):
        with pytest.raises(SystemExit, match=f"imsvd-plugins test: CONFIG .*{EVALUATION}"):
            train.main(["resnet14-w24_1xb256-knn_digit", "epoch_60.pth"], tool="test")

    def test_help_is_ours_and_the_tools(self, capsys):
        with pytest.raises(SystemExit) as error:
            train.main(["--help"], tool="test")
        shown = capsys.readouterr().out
        assert error.value.code == 0
        assert "imsvd-plugins test CONFIG CHECKPOINT" in shown
        assert EVALUATION in shown
        assert "--out-item" in shown


class TestWrongConfigs:
    def test_more_neighbours_than_images(self, tmp_path):
        with pytest.raises(ValueError, match=r"train_dataloader of KNNLoop .* 102 images .*got 101"):
            Runner.from_cfg(evaluation(None, tmp_path, **{"test_cfg.k": 102})).test_loop  # noqa: B018

    def test_no_images_that_vote(self, tmp_path):
        cfg = evaluation(None, tmp_path)
        del cfg.test_cfg["train_dataloader"]
        with pytest.raises(TypeError, match="train_dataloader of KNNLoop must be a data loader's config, got None"):
            Runner.from_cfg(cfg).test_loop  # noqa: B018

    @pytest.mark.parametrize(
        ("key", "value"), [("k", 0), ("k", []), ("k", True), ("temperature", -1.0), ("temperature", "warm")]
    )
    def test_a_number_out_of_range(self, tmp_path, key, value):
        with pytest.raises((ValueError, TypeError), match=f"{key} of KNNLoop must"):
            Runner.from_cfg(evaluation(None, tmp_path, **{f"test_cfg.{key}": value})).test_loop  # noqa: B018

    def test_metrics_that_would_get_nothing(self, tmp_path):
        cfg = evaluation(None, tmp_path)
        cfg.test_evaluator = {"type": "Accuracy"}
        with pytest.raises(ValueError, match="test_evaluator must be "):
            Runner.from_cfg(cfg).test_loop  # noqa: B018

    def test_the_loop_is_found_by_both_names(self):
        from mmpretrain.registry import LOOPS

        assert LOOPS.get("imsvd_plugins.KNNLoop") is LOOPS.get("KNNLoop") is KNNLoop
