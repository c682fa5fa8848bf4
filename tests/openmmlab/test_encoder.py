"""A checkpoint of mmpretrain's as an encoder: its features, projections and views are those of the training."""

import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from imsvd_plugins.encoders import load_encoder
from imsvd_plugins.openmmlab.encoder.untrusted_config import checked
from imsvd_plugins.openmmlab.errors import ConfigError
from imsvd_plugins.openmmlab.shipped_configs import resolve_config
from imsvd_plugins.registry import MODELS, NODES

NARROW = {"model.neck.hid_channels": 16, "model.neck.out_channels": 160}


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8))


@pytest.fixture
def saved(tmp_path):
    """The model of a shipped config, and its checkpoint."""

    def save(name, **options):
        cfg = Config.fromfile(resolve_config(name))
        cfg.merge_from_dict(options)
        init_default_scope("mmpretrain")
        model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor}).eval()
        content = {"meta": {"cfg": cfg.pretty_text, "epoch": 1}, "state_dict": model.state_dict()}
        torch.save(content, tmp_path / "epoch_1.pth")
        return model, cfg, tmp_path / "epoch_1.pth"

    return save


@pytest.mark.parametrize(
    ("name", "side", "of_training", "options"),
    [
        ("imsvd_resnet18_1xb512-coslr-800e_cifar10", None, 32, {}),
        ("imsvd-multicrop_resnet18_1xb256-coslr-800e_imagenette", 128, 128, {"model.neck.hid_channels": 16}),
        ("ssl-hsic_resnet18_1xb256-coslr-800e_imagenette", 128, 128, {"model.neck.hid_channels": 16}),
        ("imsvd_resnet18_1xb256-coslr-200e_images", 224, 224, {"model.neck.hid_channels": 16}),
        ("imsvd_vit-small-p16_8xb256-coslr-300e_in1k", 224, 224, NARROW),
    ],
)
def test_of_a_shipped_config(name, side, of_training, options, saved, image):
    model, cfg, file = saved(name, **options)
    encoder = load_encoder(file, device="cpu")
    plain = encoder.plain(image)
    assert plain.shape == ((3, side, side) if side else (3, 200, 240))
    images = torch.stack([encoder.augment(image) for _ in range(2)])
    assert images.shape == (2, 3, of_training, of_training)
    assert not torch.equal(images[0], images[1])
    with torch.no_grad():
        features, projections = encoder(images)
        found = model.extract_feat(images)[-1]
        torch.testing.assert_close(features, found.mean((2, 3)) if found.ndim == 4 else found)
        torch.testing.assert_close(projections, model.extract_feat(images, stage="neck")[0])
    assert f"imsvd_plugins.{encoder.method}" == cfg.model.type
    assert encoder.num_bins == cfg.model.head.loss.get("num_bins")
    assert encoder.cam_layer is not None


@pytest.mark.parametrize(
    "name",
    [
        f"imsvd_resnet18_{rest}"
        for rest in ("1xb512-coslr-800e_cifar10", "1xb256-coslr-200e_in100", "1xb256-coslr-200e_images")
    ],
)
def test_colours_reach_the_network_as_in_the_training(name, saved):
    # Whether the config's loader gives RGB or BGR, the first channel is the red one, normalised by its own mean.
    _, cfg, file = saved(name)
    encoder = load_encoder(file, device="cpu")
    mean, std = torch.tensor(cfg.data_preprocessor.mean), torch.tensor(cfg.data_preprocessor.std)
    colour = torch.tensor([250.0, 100.0, 10.0])
    plain = encoder.plain(Image.new("RGB", (256, 256), (250, 100, 10)))
    torch.testing.assert_close(plain.mean((1, 2)), (colour - mean) / std, rtol=1e-4, atol=1e-4)


def test_the_plain_view_of_a_training_without_a_test_is_the_middle_at_its_crops_size(saved, image, tmp_path):
    _, _, file = saved("imsvd_resnet18_1xb256-coslr-200e_in100")
    content = torch.load(file, weights_only=True)
    content["meta"]["cfg"] = re.sub(r"^test_dataloader = .*?^(?=\w)", "", content["meta"]["cfg"], flags=re.M | re.S)
    torch.save(content, file)
    assert "test_dataloader =" not in content["meta"]["cfg"]
    assert load_encoder(file, device="cpu").plain(image).shape == (3, 224, 224)
    assert load_encoder(file, size=96, device="cpu").plain(image).shape == (3, 96, 96)


def test_weights_alone_need_the_config(saved, image, tmp_path):
    name = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
    model, _, file = saved(name)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    one, other = load_encoder(file, device="cpu"), load_encoder(tmp_path / "weights.pth", config=name, device="cpu")
    assert torch.equal(one.plain(image), other.plain(image))
    images = one.plain(image).unsqueeze(0)
    assert torch.equal(one.projections(images), other.projections(images))
    with pytest.raises(ValueError, match=r"weights\.pth: .*resnet.*|.*depth"):
        load_encoder(tmp_path / "weights.pth", device="cpu")


def test_a_config_of_another_width_is_named(saved):
    _, _, file = saved("imsvd_resnet14-w24_1xb256-coslr-60e_digits", **{"model.backbone.base_channels": 8})
    with pytest.raises(ValueError, match=r"model\.(backbone|neck) of the checkpoint is not the one of its settings: "):
        load_encoder(file, config="imsvd_resnet14-w24_1xb256-coslr-60e_digits", device="cpu")


class TestUntrustedConfigs:
    @pytest.mark.parametrize(
        "config",
        [
            {"type": "os.system", "command": "touch harm"},
            {"type": "subprocess.Popen", "args": ["touch", "harm"]},
            {"type": "mmengine.utils.call_command"},
            {"type": "ResNet", "depth": 18, "norm_cfg": {"type": "builtins.print"}},
            {"type": "ResNet", "depth": 18, "_scope_": "antigravity"},
            {"type": "antigravity.ResNet"},
            {"type": "TIMMBackbone", "model_name": "hf-hub:some/model"},
            {"type": "HuggingFaceClassifier", "model_name": "some"},
            {"type": ["ResNet"]},
        ],
    )
    def test_build_nothing_but_networks(self, config, saved, tmp_path, monkeypatch):
        _, cfg, file = saved("imsvd_resnet14-w24_1xb256-coslr-60e_digits")
        content = torch.load(file, weights_only=True)
        content["meta"]["cfg"] = Config({**cfg.to_dict(), "model": {**cfg.model, "backbone": config}}).pretty_text
        torch.save(content, file)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match=r"the checkpoint's config is not followed: model\.backbone.*--config"):
            load_encoder(file, device="cpu")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_1.pth"]

    def test_build_no_views_but_transforms(self):
        with pytest.raises(ConfigError, match=r"pipeline\[0\].transforms\[0\].type = 'os.system'"):
            checked(NODES["TRANSFORMS"], "pipeline", [{"type": "RandomApply", "transforms": [{"type": "os.system"}]}])

    def test_weights_from_elsewhere_are_not_loaded(self):
        config = {
            "type": "TIMMBackbone",
            "model_name": "resnet18",
            "pretrained": True,
            "init_cfg": {"type": "Pretrained"},
        }
        assert checked(MODELS, "model.backbone", config) == {"type": "TIMMBackbone", "model_name": "resnet18"}
