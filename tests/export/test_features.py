"""An exported backbone's features in the other library are those it had; one that it lacks is named."""

import re

import pytest
import torch
import torchvision
from mmpretrain.models.backbones import ResNet, ResNet_CIFAR, ResNetV1d
from mmpretrain.registry import MODELS
from torch import nn

from imsvd_plugins import cli
from imsvd_plugins.lightly import IMSVD, SSLHSIC, IMSVDProjectionHead
from imsvd_plugins.lightly.backbones import SmallCNN, TimmBackbone

VIT = {
    "type": "VisionTransformer",
    "arch": {"embed_dims": 48, "num_layers": 2, "num_heads": 3, "feedforward_channels": 96},
    "img_size": 32,
    "patch_size": 8,
}
CONVNEXT = {"type": "ConvNeXt", "arch": {"depths": [1, 1, 2, 1], "channels": [8, 16, 24, 32]}}
SWIN = {
    "type": "SwinTransformer",
    "arch": {"embed_dims": 24, "depths": [1, 2, 2, 1], "num_heads": [1, 2, 4, 8]},
    "img_size": 64,
    "window_size": 2,
}
THREE_STAGES = {"num_stages": 3, "strides": (1, 2, 2), "dilations": (1, 1, 1), "out_indices": (2,)}


def randomised(module: nn.Module) -> nn.Module:
    """The module with all of its tensors random, so that none can be mistaken for another, and ready to evaluate."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.normal_(std=0.1, generator=generator)
        if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.add_(1).abs_()
    module.eval()  # mmpretrain's returns nothing.
    return module


@torch.no_grad()
def features(model: nn.Module, size: int = 64, channels: int = 3) -> torch.Tensor:
    """Features of random images in float64; a map of them is averaged over its places."""
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1)).double()
    y = model.double()(images)
    y = y[-1] if isinstance(y, tuple) else y
    return y.mean((2, 3)) if y.ndim == 4 else y


def assert_equal_features(one: nn.Module, other: nn.Module, size: int = 64, channels: int = 3) -> None:
    # In float64, where the libraries' different orders of the same sums do not show.
    expected = features(one, size, channels)
    assert expected.std() > 1e-3
    torch.testing.assert_close(
        features(other, size, channels), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max())
    )


@pytest.mark.parametrize("library", ["torchvision", "timm", "mmpretrain"])
class TestFeatures:
    @pytest.mark.parametrize("depth", [18, 50])
    def test_of_a_resnet_of_mmpretrain(self, library, depth, mmengine_file, export):
        backbone = randomised(ResNet(depth))
        model, printed = export(mmengine_file(backbone, {"type": "ResNet", "depth": depth}), library)
        assert_equal_features(backbone, model)
        assert "mmengine checkpoint" in printed

    def test_of_a_resnet_of_13_channels(self, library, mmengine_file, export):
        backbone = randomised(ResNet(18, in_channels=13))
        config = {"type": "ResNet", "depth": 18, "in_channels": 13}
        model, printed = export(mmengine_file(backbone, config), library)
        assert_equal_features(backbone, model, channels=13)
        assert ("in_channels=13" if library == "mmpretrain" else "ResNet-18 of 13 channels") in printed

    def test_of_a_resnet_of_one_channel_with_a_3x3_stem(self, library, mmengine_file, export):
        backbone = randomised(ResNet_CIFAR(18, in_channels=1))
        config = {"type": "ResNet_CIFAR", "depth": 18, "in_channels": 1}
        model, _ = export(mmengine_file(backbone, config), library)
        assert_equal_features(backbone, model, size=32, channels=1)

    def test_of_a_resnet_with_a_3x3_stem(self, library, mmengine_file, export):
        backbone = randomised(ResNet_CIFAR(18))
        model, _ = export(mmengine_file(backbone, {"type": "ResNet_CIFAR", "depth": 18}), library)
        assert_equal_features(backbone, model, size=32)

    def test_of_a_vit_of_mmpretrain(self, library, mmengine_file, export):
        backbone = randomised(MODELS.build(VIT))
        model, printed = export(mmengine_file(backbone, VIT), library)
        assert_equal_features(backbone, model, size=32)
        assert "assumed" not in printed

    def test_of_a_resnet_of_lightly(self, library, lightning_file, export):
        module = IMSVD(8, 10, projection_head=IMSVDProjectionHead(2048, 8, 160))
        randomised(module.backbone)
        model, printed = export(lightning_file(module), library)
        assert_equal_features(module.backbone, model)
        assert "Lightning checkpoint" in printed

    @pytest.mark.parametrize("small_stem", [False, True])
    def test_of_a_resnet_whose_children_are_numbered(self, library, small_stem, tmp_path, export):
        resnet = torchvision.models.resnet18()
        children = list(resnet.children())[:-1]
        if small_stem:
            children = [nn.Conv2d(3, 64, 3, padding=1, bias=False), *children[1:3], *children[4:]]
        model = nn.ModuleDict({"backbone": nn.Sequential(*children), "projection_head": nn.Linear(2, 2)})
        randomised(model)
        torch.save(model.state_dict(), tmp_path / "model.pt")
        exported, printed = export(tmp_path / "model.pt", library)
        assert_equal_features(model["backbone"], exported)
        assert ("no pooling are assumed" in printed) == small_stem

    def test_of_a_vit_of_torchvision_in_a_lightly_module(self, library, tmp_path, export):
        backbone = torchvision.models.VisionTransformer(32, 16, 2, 2, 128, 96)
        backbone.heads = nn.Identity()
        randomised(backbone)
        torch.save(nn.ModuleDict({"backbone": backbone}).state_dict(), tmp_path / "model.pt")
        exported, printed = export(tmp_path / "model.pt", library)
        assert_equal_features(backbone, exported, size=32)
        assert "2, of 64 channels each, are assumed" in printed


def test_the_vit_of_the_library_is_named_if_it_has_one(mmengine_file, export):
    pytest.importorskip("timm")
    config = {"type": "VisionTransformer", "arch": "deit-small"}
    backbone = randomised(MODELS.build(config))
    model, printed = export(mmengine_file(backbone, config), "timm")
    assert "'vit_small_patch16_224'" in printed
    assert_equal_features(backbone, model, size=224)


@pytest.mark.parametrize("config", [CONVNEXT, SWIN], ids=lambda config: config["type"])
def test_a_convnext_and_a_swin_go_from_mmpretrain_to_timm_and_back(config, mmengine_file, export, tmp_path):
    pytest.importorskip("timm")
    backbone = randomised(MODELS.build(config))
    model, _ = export(mmengine_file(backbone, config), "timm")
    assert_equal_features(backbone, model)
    # As a training of Lightly's has them, where nothing says what they are.
    torch.save(nn.ModuleDict({"backbone": model}).state_dict(), tmp_path / "model.pt")
    again, printed = export(tmp_path / "model.pt", "mmpretrain")
    assert_equal_features(backbone, again)
    assert ("64 pixels, 32 times the window, are assumed" in printed) == (config is SWIN)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"type": "ConvNeXt", "arch": "tiny"}, "convnext_tiny"),
        ({"type": "SwinTransformer", "arch": "tiny"}, "swin_tiny_patch4_window7_224"),
    ],
)
def test_timms_own_convnext_and_swin_are_named(config, name, mmengine_file, export):
    pytest.importorskip("timm")
    backbone = randomised(MODELS.build(config))
    model, printed = export(mmengine_file(backbone, config), "timm")
    assert f"timm.create_model('{name}', " in printed
    assert_equal_features(backbone, model, size=224)


def test_timms_models_of_a_yaml_training_keep_their_names(tmp_path, export, failure):
    timm = pytest.importorskip("timm")
    settings = {"name": "mobilenetv3_small_050", "pretrained": False, "options": {"drop_rate": 0.1}}
    backbone = randomised(TimmBackbone(**settings))
    state = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    component = {"class_path": "imsvd_plugins.lightly.backbones.TimmBackbone", "init_args": settings}
    torch.save({"state_dict": state, "hyper_parameters": {"backbone": component}}, tmp_path / "last.ckpt")
    model, printed = export(tmp_path / "last.ckpt", "timm")
    assert "timm.create_model('mobilenetv3_small_050', num_classes=0, drop_rate=0.1)" in printed
    assert type(model) is type(timm.create_model("mobilenetv3_small_050"))
    assert_equal_features(backbone, model)
    assert "--format torch takes any network" in failure(tmp_path / "last.ckpt", "torchvision")


def test_timms_models_of_mmpretrain_keep_their_names(mmengine_file, export):
    pytest.importorskip("timm")
    config = {"type": "TIMMBackbone", "model_name": "mobilenetv3_small_050"}
    backbone = randomised(MODELS.build(config))
    model, _ = export(mmengine_file(backbone, config), "timm")
    assert_equal_features(backbone, model)


def test_the_demos_own_checkpoint_is_taken(tmp_path, export, failure):
    module = IMSVD(8, 10, backbone=SmallCNN(), projection_head=IMSVDProjectionHead(128, 8, 160))
    torch.save({"state_dict": randomised(module).state_dict()}, tmp_path / "last.ckpt")
    model, printed = export(tmp_path / "last.ckpt", "torch")
    assert "import imsvd_plugins.lightly.backbones; model = imsvd_plugins.lightly.backbones.SmallCNN(); " in printed
    assert_equal_features(module.backbone, model, size=16)
    assert "--format torch takes any network" in failure(tmp_path / "last.ckpt", "timm")


def test_any_network_keeps_its_own_names(tmp_path, capsys):
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    torch.save(nn.ModuleDict({"backbone": backbone}).state_dict(), tmp_path / "model.pt")
    assert cli.main(["export", str(tmp_path / "model.pt"), "--format", "torch"]) == 0
    names: dict[str, object] = {"model": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "torch": torch}
    printed = capsys.readouterr().out.splitlines()
    exec(printed[1].strip(), names)
    assert_equal_features(backbone, names["model"])
    assert printed[2] == "The checkpoint does not tell its class: model is a network of that class."


def test_the_vits_heads_come_from_the_config(mmengine_file, export):
    # The same shapes as deit-small, whose heads are six.
    config = {"type": "MoCoV3ViT", "arch": "mocov3-small", "img_size": 32, "patch_size": 16}
    backbone = randomised(MODELS.build(config))
    model, _ = export(mmengine_file(backbone, config), "torchvision")
    assert_equal_features(backbone, model, size=32)


def test_mmpretrain_gets_any_of_its_own_networks_back(mmengine_file, export):
    config = {"type": "ResNetV1d", "depth": 18, "base_channels": 8, "stem_channels": 8}
    backbone = randomised(ResNetV1d(depth=18, base_channels=8, stem_channels=8))
    model, _ = export(mmengine_file(backbone, config), "mmpretrain")
    assert_equal_features(backbone, model)


def test_timm_names_a_vits_tensors_like_this(mmengine_file, capsys):
    # Written from timm's own VisionTransformer, for where timm is not installed.
    block = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
    modules = ["patch_embed.proj", "norm", *(f"blocks.{index}.{name}" for index in range(2) for name in block)]
    expected = {"cls_token", "pos_embed", *(f"{name}.{kind}" for name in modules for kind in ("weight", "bias"))}
    checkpoint = mmengine_file(MODELS.build(VIT), VIT)
    assert cli.main(["export", str(checkpoint), "--format", "timm"]) == 0
    assert torch.load(checkpoint.with_name("epoch_1_backbone_timm.pth")).keys() == expected
    assert "num_heads=3, mlp_ratio=2, num_classes=0" in capsys.readouterr().out


def test_the_online_network_is_taken_not_the_target(lightning_file, export):
    module = SSLHSIC(8, 10, backbone=torchvision.models.resnet18(), projection_head=None)
    randomised(module.backbone)
    model, _ = export(lightning_file(module), "torchvision")
    assert torch.equal(model.conv1.weight, module.backbone.conv1.weight)
    assert not torch.equal(model.conv1.weight, module.target_backbone.conv1.weight)


def test_averaged_weights_are_announced(mmengine_file, export):
    # mmengine's EMAHook saves the average as the state_dict and the model's own weights as the ema_state_dict.
    average, own = randomised(ResNet(18)), ResNet(18).state_dict()
    own = {f"module.backbone.{name}": tensor for name, tensor in own.items()}
    model, printed = export(mmengine_file(average, {}, ema_state_dict=own), "torchvision")
    assert "averaged weights" in printed
    assert_equal_features(average, model)


@pytest.mark.parametrize("prefix", ["module.backbone.", "_orig_mod.backbone.", "backbone._orig_mod."])
def test_wrappers_do_not_matter(prefix, tmp_path, export):
    backbone = randomised(torchvision.models.resnet18())
    state = {f"{prefix}{name}": tensor for name, tensor in backbone.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "model.pt")
    model, _ = export(tmp_path / "model.pt", "torchvision")
    backbone.fc = nn.Identity()
    assert_equal_features(backbone, model)


@pytest.mark.parametrize(
    ("config", "library", "message"),
    [
        ({"type": "ResNetV1d", "depth": 18}, "timm", "deep stem .*ResNetV1d"),
        ({"type": "ResNet", "depth": 18, "base_channels": 24}, "torchvision", r"ResNet-18's .* resnet18 .*\(24,"),
        (
            {"type": "ResNet", "depth": 18, **THREE_STAGES},
            "torchvision",
            r"ResNet of 3 stages with \(2, 2, 2\) basic blocks.*one of depth 18, 34, 50, 101, 152",
        ),
        ({"type": "ResNet", "depth": 50, "style": "caffe"}, "timm", r"model\.backbone\.style = 'caffe'.*'pytorch'"),
        ({"type": "ResNet", "depth": 18, "strides": (1, 2, 2, 1)}, "timm", r"model\.backbone\.strides = \(1, 2, 2, 1"),
        (
            {"type": "VGG", "depth": 11},
            "torchvision",
            r"must be a ResNet, a vision .*, got 16 tensors: .*--format torch",
        ),
        (
            CONVNEXT,
            "torchvision",
            "ConvNeXt of 1-1-2-1 blocks, .* is exported to timm or mmpretrain, or as it is to torch",
        ),
        ({**CONVNEXT, "use_grn": True}, "timm", "no plain ConvNeXt .* one tensor too many"),
        ({**CONVNEXT, "gap_before_final_norm": False}, "timm", r"model\.backbone\.gap_before_final_norm = False"),
        ({**SWIN, "use_abs_pos_embed": True}, "timm", "no plain Swin .*'absolute_pos_embed' is one tensor too many"),
        ({**SWIN, "pad_small_map": True}, "timm", r"model\.backbone\.pad_small_map = True; timm's Swin has False"),
        ({**VIT, "layer_scale_init_value": 0.1}, "timm", "no plain vision transformer .*gamma.* one tensor too many"),
        ({**VIT, "final_norm": False}, "torchvision", r"no plain vision transformer .*ln1\.bias.* absent"),
        ({**VIT, "norm_cfg": {"type": "LN", "eps": 0.1}}, "timm", r"model\.backbone\.norm_cfg"),
    ],
)
def test_a_backbone_that_a_library_lacks_is_named(config, library, message, mmengine_file, failure):
    checkpoint = mmengine_file(MODELS.build(config), config)
    line = failure(checkpoint, library)
    assert re.search(message, line), line
    assert str(checkpoint) in line
    assert not checkpoint.with_name(f"epoch_1_backbone_{library}.pth").exists()
