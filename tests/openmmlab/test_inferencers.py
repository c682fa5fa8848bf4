"""A pretraining config with its checkpoint in mmpretrain's own inferencers."""

import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain import FeatureExtractor, ImageClassificationInferencer

from imsvd_plugins.data.digits import load_digits
from imsvd_plugins.openmmlab.shipped_configs import resolve_config

PRETRAINING = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
PROBE = "resnet14-w24_1xb256-linear-coslr-30e_digits"
IMAGES = [np.ascontiguousarray(image) for image in load_digits("test", 16)[0][:3]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """As a training leaves it behind, of the config as it ships."""
    model = mmpretrain.get_model(PRETRAINING)
    path = tmp_path_factory.mktemp("pretraining") / "epoch_60.pth"
    torch.save({"meta": {}, "state_dict": model.state_dict()}, path)
    return str(path), model


@pytest.mark.parametrize("config", [PRETRAINING, str(resolve_config(PRETRAINING))], ids=["name", "path"])
def test_features_are_those_of_the_checkpoint(checkpoint, config):
    path, model = checkpoint
    pixels = (torch.from_numpy(np.stack(IMAGES)).permute(0, 3, 1, 2).float() - 78) / 96
    for stage in ("backbone", "neck"):
        found = FeatureExtractor(config, pretrained=path)(IMAGES, batch_size=3, stage=stage)
        with torch.no_grad():
            expected = model.extract_feat(pixels, stage=stage)[0]
        torch.testing.assert_close(torch.stack([features[0] for features in found]), expected)


def test_a_linear_probe_classifies(tmp_path):
    model = mmpretrain.get_model(PROBE)
    torch.save({"meta": {}, "state_dict": model.state_dict()}, tmp_path / "probe.pth")
    results = ImageClassificationInferencer(PROBE, pretrained=str(tmp_path / "probe.pth"))(IMAGES)
    assert [set(result) >= {"pred_label", "pred_scores", "pred_class"} for result in results] == [True] * 3


@pytest.mark.parametrize(
    "name",
    [
        PRETRAINING,
        "imsvd_resnet18_1xb512-coslr-800e_cifar10",
        "imsvd_resnet18_1xb512-coslr-800e_cifar100",
        "imsvd-multicrop_resnet18_1xb256-coslr-800e_imagenette",
        "ssl-hsic_resnet18_1xb256-coslr-200e_in100",
        "ssl-hsic_vit-small-p16_16xb256-coslr-300e_in1k",
    ],
)
def test_a_pretraining_config_names_the_images_of_its_knn_hook(name):
    cfg = Config.fromfile(resolve_config(name))
    datasets = [cfg.test_dataloader.dataset, cfg.test_cfg.train_dataloader.dataset]
    for dataset in datasets:
        assert "_delete_" not in dataset
        assert "MultiView" not in [step.type for step in dataset.pipeline]
    for hook in cfg.get("custom_hooks", []):
        if hook.type == "imsvd_plugins.KNNEvalHook":
            assert datasets == [hook.test_dataloader.dataset, hook.train_dataloader.dataset]


def test_a_pretraining_config_evaluates_its_checkpoint(checkpoint, tmp_path):
    cfg = Config.fromfile(resolve_config(PRETRAINING))
    cfg.merge_from_dict({"load_from": checkpoint[0], "work_dir": str(tmp_path), "experiment_name": "test-pretraining"})
    found = Runner.from_cfg(cfg).test()
    assert found.keys() == {"knn_top1"}
    DefaultScope._instance_dict.clear()
    cfg = Config.fromfile(resolve_config("resnet14-w24_1xb256-knn_digits"))
    cfg.merge_from_dict({"load_from": checkpoint[0], "work_dir": str(tmp_path), "experiment_name": "test-knn"})
    assert Runner.from_cfg(cfg).test() == found
