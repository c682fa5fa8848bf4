"""An encoder's features and projections, and the layer at which Grad-CAM looks."""

import pytest
import torch
from torch import nn

from imsvd_plugins.explain.encoder import Encoder


def encoder(backbone, projector=None, pool=lambda output: output.flatten(1)):
    settings = {"method": "IMSVD", "num_bins": 4, "temperature": 1.0, "plain": None, "augment": None}
    return Encoder(backbone, projector, pool, **settings)


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def test_is_in_evaluation_mode_and_one_pass_gives_both():
    network = encoder(small_cnn(), nn.Linear(8, 16))
    images = torch.randn(5, 3, 9, 9)
    features, projections = network(images)
    assert (features.shape, projections.shape) == ((5, 8), (5, 16))
    assert torch.equal(features, network.features(images))
    assert torch.equal(projections, network.projections(images))
    assert torch.equal(projections, network.projector(features))


def test_gradients_reach_the_images_and_not_the_weights():
    network = encoder(small_cnn(), nn.Linear(8, 16))
    images = torch.randn(2, 3, 9, 9, requires_grad=True)
    network.projections(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("wrong", [{"num_bins": "16"}, {"num_bins": 1}, {"temperature": 0}, {"temperature": None}])
def test_settings_of_a_checkpoint_that_are_none_are_refused(wrong):
    settings = {"method": "IMSVD", "num_bins": 4, "temperature": 1.0, "plain": None, "augment": None, **wrong}
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} of the training's settings must be"):
        Encoder(small_cnn(), None, torch.flatten, **settings)


def test_without_a_projector_there_are_no_projections():
    assert encoder(small_cnn()).projections(torch.randn(2, 3, 9, 9)) is None


class TestCamLayer:
    def test_of_a_convolutional_network_is_the_last_with_places(self):
        network = encoder(small_cnn())
        assert network.cam_layer is None  # Nothing is known of the images yet.
        network.features(torch.randn(2, 3, 9, 9))
        assert network.cam_layer is network.backbone[3]

    def test_goes_by_the_images_size(self):
        # The last map of small images may be a single place.
        backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1))
        network = encoder(backbone)
        for size, layer in ((16, 1), (2, None), (4, 0)):
            network.features(torch.randn(1, 3, size, size))
            assert network.cam_layer is (None if layer is None else backbone[layer])

    @pytest.mark.parametrize("depth", [18, 50])
    def test_of_a_resnet_is_its_last_stage(self, depth):
        from imsvd_plugins.lightly.backbones import ResNet

        network = encoder(ResNet(depth))
        network.features(torch.randn(1, 3, 64, 64))
        assert network.cam_layer is network.backbone.layer4

    @pytest.mark.parametrize(("pool", "expected"), [("token", "blocks.1.norm1"), ("avg", "blocks.1")])
    def test_of_a_vit_reaches_the_features_from_all_tokens(self, pool, expected):
        timm = pytest.importorskip("timm")
        vit = timm.models.VisionTransformer(
            32, 8, embed_dim=24, depth=2, num_heads=2, num_classes=0, global_pool=pool, fc_norm=False
        )
        network = encoder(vit)
        network.features(torch.randn(1, 3, 32, 32))
        expected = "norm" if pool == "avg" else expected
        assert network.cam_layer is vit.get_submodule(expected)
