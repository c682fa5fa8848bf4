import pytest
import torch
from lightly.models.modules.heads import ProjectionHead
from torch import nn

from imsvd_plugins.lightly import HSICPredictionHead, HSICProjectionHead, IMSVDProjectionHead


def layout(head):
    """Layers as (inputs, outputs, bias), or their class' name."""
    return [
        (layer.in_features, layer.out_features, layer.bias is not None)
        if isinstance(layer, nn.Linear)
        else type(layer).__name__
        for layer in head.layers
    ]


@pytest.fixture(autouse=True)
def without_memory():
    with torch.device("meta"):
        yield


def test_imsvd_projector_is_the_papers_for_imagenet():
    assert layout(IMSVDProjectionHead()) == [(2048, 8192, True), "BatchNorm1d", "ReLU", (8192, 8160, False)]


def test_imsvd_projector_is_the_papers_for_cifar10():
    head = IMSVDProjectionHead(512, 1024, 1024, num_layers=3)
    hidden = ["BatchNorm1d", "ReLU"]
    assert layout(head) == [(512, 1024, True), *hidden, (1024, 1024, True), *hidden, (1024, 1024, False)]


def test_hsic_heads_are_the_papers():
    assert layout(HSICProjectionHead()) == [(2048, 4096, False), "BatchNorm1d", "ReLU", (4096, 256, True)]
    assert layout(HSICPredictionHead()) == [(256, 4096, False), "BatchNorm1d", "ReLU", (4096, 256, True)]


@pytest.mark.parametrize("head", [IMSVDProjectionHead, HSICProjectionHead, HSICPredictionHead])
def test_heads_are_lightlys(head):
    assert isinstance(head(), ProjectionHead)


@pytest.mark.parametrize(("num_layers", "error"), [(1, ValueError), (2.0, TypeError)])
def test_wrong_number_of_layers_is_named(num_layers, error):
    with pytest.raises(error, match=rf"num_layers must be an int >= 2, got {num_layers}"):
        IMSVDProjectionHead(num_layers=num_layers)
