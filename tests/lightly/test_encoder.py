"""A checkpoint of Lightning's as an encoder. What the shipped YAML configs train is in test_command.py."""

import pickle

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2 as T

from imsvd_plugins.encoders import load_encoder
from imsvd_plugins.lightly import HSICProjectionHead, IMSVDProjectionHead
from imsvd_plugins.lightly.backbones import SmallCNN, TimmBackbone
from imsvd_plugins.lightly.components import make

SMALL_CNN = {"class_path": "imsvd_plugins.lightly.backbones.SmallCNN"}


@pytest.fixture
def saved(tmp_path):
    """A Lightning checkpoint of a module with these parts."""

    def save(parts, **content):
        state = nn.ModuleDict(parts).state_dict()
        file = tmp_path / "last.ckpt"
        torch.save({"pytorch-lightning_version": "2.6.0", "state_dict": state, **content}, file)
        return file

    return save


@pytest.mark.parametrize("head", [IMSVDProjectionHead(128, 16, 24, 3), HSICProjectionHead(128, 16, 8)])
def test_a_heads_layers_are_found_by_its_weights(head, saved):
    backbone = SmallCNN().eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    encoder = load_encoder(saved({"backbone": backbone, "projection_head": head}), device="cpu")
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(encoder.projections(images), head.eval()(backbone(images)))
    assert any("ReLU is assumed" in note for note in encoder.notes)
    assert any("crops of 224 pixels and ImageNet's normalisation are assumed" in note for note in encoder.notes)


def test_anyones_module_whose_settings_hold_its_parts(saved):
    layers = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 128, "out_features": 5}}
    transform = {
        "class_path": "lightly.transforms.SimCLRTransform",
        "init_args": {"input_size": 24, "gaussian_blur": 0.0},
    }
    to_tensor = {
        "class_path": "torchvision.transforms.Compose",
        "init_args": {
            "transforms": [
                {"class_path": "torchvision.transforms.Resize", "init_args": {"size": [20, 20]}},
                {"class_path": "torchvision.transforms.ToTensor"},
            ]
        },
    }
    parts = {"backbone": SmallCNN(), "projection_head": nn.Linear(128, 5)}
    settings = {"_class_path": "mine.SimCLR", "backbone": SMALL_CNN, "projection_head": layers}
    file = saved(
        parts,
        hyper_parameters=settings,
        datamodule_hyper_parameters={"transform": transform, "val_transform": to_tensor},
    )
    encoder = load_encoder(file, device="cpu")
    image = Image.new("RGB", (40, 30), "red")
    assert encoder.plain(image).shape == (3, 20, 20)
    assert encoder.augment(image).shape == (3, 24, 24)
    assert (encoder.method, encoder.num_bins, encoder.notes) == ("SimCLR", None, ())
    assert encoder.projections(torch.randn(2, 3, 20, 20)).shape == (2, 5)
    # A loader's processes get the views pickled.
    assert torch.equal(pickle.loads(pickle.dumps(encoder.plain))(image), encoder.plain(image))
    assert load_encoder(file, size=12, device="cpu").plain(image).shape == (3, 12, 12)


def test_the_yaml_file_tells_what_the_checkpoint_does_not(saved, tmp_path, monkeypatch):
    (tmp_path / "mine_of_yaml.py").write_text(
        "from torch import nn\n\nclass Pool(nn.Sequential):\n    def __init__(self, width):\n"
        "        super().__init__(nn.Conv2d(3, width, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(
        "model:\n  class_path: imsvd_plugins.lightly.IMSVD\n  init_args:\n"
        "    backbone: {class_path: mine_of_yaml.Pool, init_args: {width: 7}}\n"
        "    criterion: {class_path: imsvd_plugins.lightly.IMSVDLoss, init_args: {num_bins: 4}}\n"
        "data:\n  class_path: imsvd_plugins.lightly.data.CIFAR10DataModule\n"
    )
    component = {"class_path": "mine_of_yaml.Pool", "init_args": {"width": 7}}
    pool = nn.Sequential(nn.Conv2d(3, 7, 1))
    file = saved(
        {"backbone": pool, "projection_head": IMSVDProjectionHead(7, 8, 12)}, hyper_parameters={"backbone": component}
    )
    with pytest.raises(ValueError, match=r"config is not followed: .*'mine_of_yaml.Pool' is no network .*by --config"):
        load_encoder(file, device="cpu")
    encoder = load_encoder(file, config=str(config), device="cpu")
    assert (encoder.method, encoder.num_bins) == ("IMSVD", 4)
    assert encoder.projections(torch.randn(2, 3, 8, 8)).shape == (2, 12)


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "subprocess.Popen",
        "imsvd_plugins.commands.lightly.command._CommandLine",
        "torch.nn.Module.to",
        "torchvision.models.resnet18",
        "torch.nn.modules.module.Any",
        None,
    ],
)
def test_settings_in_a_checkpoint_make_nothing_but_networks(path):
    component = {"class_path": path, "init_args": {}}
    with pytest.raises(ValueError, match=r"config is not followed|must be a class|there is no class"):
        make("backbone", component, trusted=False)


def test_settings_in_a_checkpoint_download_nothing():
    pytest.importorskip("timm")
    component = {
        "class_path": "imsvd_plugins.lightly.backbones.TimmBackbone",
        "init_args": {"name": "resnet10t", "pretrained": True, "options": {"checkpoint_path": "absent.pth"}},
    }
    made = make("backbone", component, trusted=False)
    assert type(made) is type(TimmBackbone("resnet10t"))
    component["init_args"]["name"] = "hf-hub:some/model"
    with pytest.raises(ValueError, match="would be downloaded"):
        make("backbone", component, trusted=False)


def test_the_data_modules_keep_their_views_for_it(tmp_path):
    from imsvd_plugins.lightly.data import CIFAR10DataModule

    module = CIFAR10DataModule(str(tmp_path), T.Identity(), 8, 0)
    assert dict(module.hparams) == {"root": str(tmp_path), "batch_size_per_device": 8, "num_workers": 0}
