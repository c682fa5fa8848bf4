"""The hook that measures the kNN accuracy during pretraining."""

import json
import random

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from sklearn.neighbors import KNeighborsClassifier

from imsvd_plugins.data.digits import load_digits
from imsvd_plugins.openmmlab import KNNEvalHook

CONFIG = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"


def by_sklearn(bank, bank_labels, queries, query_labels, k, temperature):
    votes = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / temperature)
    )
    return votes.fit(bank.numpy(), bank_labels.numpy()).score(queries.numpy(), query_labels.numpy())


def loader(split, count, **options):
    dataset = {"type": "Digits", "split": split, "pipeline": [{"type": "PackInputs"}], "indices": count}
    return {"batch_size": 32, "num_workers": 0, "dataset": dataset, **options}


def hook(**options):
    return {
        "type": "imsvd_plugins.KNNEvalHook",
        "train_dataloader": loader("train", 101),
        "test_dataloader": loader("test", 51),
        **options,
    }


def expected_percentage(model, count_train, count_test, k=20):
    model.eval()
    sets = []
    for split, count in (("train", count_train), ("test", count_test)):
        images, labels = load_digits(split, 16)
        pixels = (torch.from_numpy(images[:count]).permute(0, 3, 1, 2).float() - 78) / 96
        with torch.no_grad():
            sets += [model.backbone(pixels)[-1].mean(dim=(2, 3)), torch.from_numpy(labels[:count])]
    return 100 * by_sklearn(*sets, k, 0.07)


def random_states():
    numpy_state = np.random.get_state()[1]  # noqa: NPY002  (what mmcv's transforms draw from)
    return random.getstate(), numpy_state.tolist(), torch.get_rng_state().tolist()


class TestHook:
    def test_it_reports_what_scikit_learn_finds_on_the_same_features(self, small, run):
        runner = run(small(CONFIG, custom_hooks=[hook()]))
        expected = expected_percentage(runner.model, 101, 51)
        assert runner.message_hub.get_scalar("metrics/knn_top1").current() == pytest.approx(expected)

    def test_the_log_and_the_visualizer_show_it(self, small, run, tmp_path):
        runner = run(small(CONFIG, custom_hooks=[hook()]))
        first, last = runner.message_hub.get_scalar("metrics/knn_top1").data[0]
        lines = [json.loads(line) for line in next(tmp_path.rglob("scalars.json")).read_text().splitlines()]
        assert [(line["step"], line["knn_top1"]) for line in lines if "knn_top1" in line] == [(2, first), (4, last)]
        assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
        shown = [line for line in next(tmp_path.rglob("*.log")).read_text().splitlines() if "knn_top1: " in line]
        assert len(shown) == 2
        assert f"Epoch(knn) [2]  knn_top1: {last:.4f}" in shown[1]

    @pytest.mark.parametrize(("interval", "count"), [(2, 2), (5, 1)])
    def test_the_last_epoch_is_always_evaluated(self, small, run, interval, count):
        cfg = small(CONFIG, custom_hooks=[hook(interval=interval)], **{"train_cfg.max_epochs": 3})
        assert len(run(cfg).message_hub.get_scalar("metrics/knn_top1").data[0]) == count

    def test_training_goes_on_as_without_it(self, small, run, tmp_path):
        # Loader workers and random transforms draw numbers too.
        noisy = loader("train", 51)
        noisy["dataset"]["pipeline"] = [{"type": "RandomFlip", "prob": 0.5}, {"type": "PackInputs"}]
        without = run(small(CONFIG), tmp_path / "without")
        with_it = run(small(CONFIG, custom_hooks=[hook(train_dataloader=noisy)]), tmp_path / "with")
        for name, value in without.model.state_dict().items():
            assert torch.equal(value, with_it.model.state_dict()[name]), name
        assert with_it.model.training

    def test_random_states_and_modes_are_left_alone(self, small, run):
        runner = run(small(CONFIG, custom_hooks=[hook()]))
        evaluation = next(hook for hook in runner.hooks if isinstance(hook, KNNEvalHook))
        runner.model.train()
        runner.model.backbone.layer1.eval()
        modes = [module.training for module in runner.model.modules()]
        states = random_states()
        runner.train_loop._epoch = 1
        evaluation.after_train_epoch(runner)
        assert modes == [module.training for module in runner.model.modules()]
        assert states == random_states()

    @pytest.mark.parametrize(
        "dropping",
        [{"drop_last": True}, {"batch_sampler": {"type": "imsvd_plugins.SeededBatchSampler", "drop_last": True}}],
        ids=["loader", "batch sampler"],
    )
    def test_a_config_of_a_training_loader_gives_each_image_once_all_the_same(self, small, run, dropping):
        options = {
            "sampler": {"type": "DefaultSampler", "shuffle": True},
            **dropping,
            # What inheriting from another package makes of it.
            "collate_fn": {"type": "default_collate", "_scope_": "mmpretrain"},
        }
        config = ConfigDict(hook(test_dataloader=loader("test", 51, **options)))
        runner = run(small(CONFIG, custom_hooks=[config]))
        expected = expected_percentage(runner.model, 101, 51)
        assert runner.message_hub.get_scalar("metrics/knn_top1").current() == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("model", "pipeline"),
        [
            (
                {
                    "type": "MAE",
                    "backbone": {
                        "type": "MAEViT",
                        "arch": "deit-t",
                        "img_size": 16,
                        "patch_size": 8,
                        "mask_ratio": 0.5,
                    },
                    "neck": {
                        "type": "MAEPretrainDecoder",
                        "num_patches": 4,
                        "patch_size": 8,
                        "embed_dim": 192,
                        "decoder_embed_dim": 32,
                        "decoder_depth": 1,
                        "decoder_num_heads": 2,
                    },
                    "head": {
                        "type": "MAEPretrainHead",
                        "patch_size": 8,
                        "loss": {"type": "PixelReconstructionLoss", "criterion": "L2"},
                    },
                },
                [{"type": "PackInputs"}],
            ),
            (
                {
                    "type": "SimSiam",
                    "backbone": {"type": "ResNet_CIFAR", "depth": 18, "base_channels": 8, "stem_channels": 8},
                    "neck": {"type": "NonLinearNeck", "in_channels": 64, "hid_channels": 16, "out_channels": 16},
                    "head": {
                        "type": "LatentPredictHead",
                        "loss": {"type": "CosineSimilarityLoss"},
                        "predictor": {
                            "type": "NonLinearNeck",
                            "in_channels": 16,
                            "hid_channels": 8,
                            "out_channels": 16,
                            "with_avg_pool": False,
                        },
                    },
                },
                None,
            ),
        ],
        ids=["MAE", "SimSiam"],
    )
    def test_it_works_on_mmpretrains_own_algorithms(self, small, run, model, pipeline):
        cfg = small(CONFIG, custom_hooks=[hook()], **{"train_cfg.max_epochs": 1})
        cfg.model = ConfigDict(model)
        if pipeline is not None:
            cfg.train_dataloader.dataset.pipeline = pipeline
        runner = run(cfg)
        assert 5 <= runner.message_hub.get_scalar("metrics/knn_top1").current() <= 100


class TestWrongConfigs:
    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"interval": 0}, r"interval of KNNEvalHook .*0"),
            ({"k": -1}, r"k of KNNEvalHook .*-1"),
            ({"k": 2.5}, r"k of KNNEvalHook .*2\.5"),
            ({"temperature": 0}, r"temperature of KNNEvalHook .*0"),
            ({"temperature": float("inf")}, r"temperature of KNNEvalHook .*inf"),
            ({"interval": True}, r"interval of KNNEvalHook .*True"),
        ],
    )
    def test_a_number_out_of_range_is_named(self, options, match):
        with pytest.raises((TypeError, ValueError), match=match):
            KNNEvalHook({}, {}, **options)

    def test_a_loader_that_is_no_config_is_named(self):
        with pytest.raises(TypeError, match="test_dataloader of KNNEvalHook"):
            KNNEvalHook({}, None)

    def test_more_neighbours_than_images_are_refused_before_training(self, small, run):
        with pytest.raises(ValueError, match=r"train_dataloader of KNNEvalHook .* 20 images .*got 19"):
            run(small(CONFIG, custom_hooks=[hook(train_dataloader=loader("train", 19))]))

    def test_images_without_labels_are_named(self, small, run):
        unlabelled = loader("test", 51)
        unlabelled["dataset"]["pipeline"].insert(0, {"type": "Collect", "keys": ["img"]})
        with pytest.raises(ValueError, match="test_dataloader of KNNEvalHook must give a gt_label"):
            run(small(CONFIG, custom_hooks=[hook(test_dataloader=unlabelled)]))
