"""Where the evidence lies: completeness through real backbones, and Grad-CAM on maps and tokens."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms.functional import normalize, to_tensor

from imsvd_plugins.explain import attribute
from imsvd_plugins.explain.attribution import BinEvidence, grad_cam, integrated_gradients, patch_grid
from imsvd_plugins.explain.encoder import Encoder
from imsvd_plugins.explain.images import Images

M, K = 6, 10


class Noise(Images):
    """Patches of colour, smooth as pictures are."""

    source, labels, classes, ignored = "noise", None, [], []

    def __init__(self, size, num=3):
        rng = np.random.default_rng(0)
        self.names = [str(index) for index in range(num)]
        self._pixels = rng.integers(0, 256, (num, 4, 4, 3), dtype=np.uint8)
        self._size = size

    def _read(self, index):
        return Image.fromarray(self._pixels[index]).resize((self._size, self._size), Image.Resampling.BILINEAR)


def view(image):
    return normalize(to_tensor(image), [0.45] * 3, [0.25] * 3)


def encoder_of(backbone, width, pool, temperature=0.2):
    projector = nn.Sequential(nn.Flatten(), nn.Linear(width, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, M * K))

    class OfPooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.projector = projector

        def forward(self, output):
            return self.projector(pool(output))

    return Encoder(
        backbone, OfPooled(), pool, method="IMSVD", num_bins=K, temperature=temperature, plain=view, augment=view
    )


def resnet_encoder():
    torch.manual_seed(0)
    backbone = nn.Sequential(*list(ResNet(BasicBlock, [1, 1, 1, 1]).children())[:-2])
    backbone.train()
    with torch.no_grad():  # statistics that fit, as a training leaves them
        for _ in range(20):
            backbone(nn.functional.interpolate(torch.randn(16, 3, 4, 4), (32, 32), mode="bilinear"))
    return encoder_of(backbone, 512, lambda output: output.mean(dim=(2, 3)))


def vit_encoder():
    torch.manual_seed(0)
    vit = VisionTransformer(image_size=32, patch_size=8, num_layers=4, num_heads=4, hidden_dim=64, mlp_dim=128)
    vit.heads = nn.Identity()
    with torch.no_grad():  # a trained one's tokens are no mean of noise
        for parameter in vit.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
    return encoder_of(vit, 64, lambda output: output)


@pytest.mark.parametrize("make", [resnet_encoder, vit_encoder])
def test_integrated_gradients_sum_to_the_difference_of_outputs(make):
    encoder, images = make(), Noise(32)
    # Where an image and the baseline hardly differ, a relative difference says little.
    evidence, pixels = BinEvidence(encoder), torch.stack([view(images[0]), view(images[1])])
    choices = []
    for image, variable in ((0, 1), (1, 5)):
        outputs = [
            evidence(pixels[image, None], variable, bin) - evidence(0 * pixels[:1], variable, bin) for bin in range(K)
        ]
        choices.append((image, variable, int(torch.cat(outputs).abs().argmax())))
    found = list(attribute(encoder, images, choices))
    assert [(each.image, each.variable, each.bin) for each in found] == [choice for choice in choices for _ in "ab"]
    assert [each.method for each in found] == ["integrated gradients", "Grad-CAM"] * 2
    for each in found[::2]:
        pixels = view(images[each.image]).unsqueeze(0)

        def output(pixels, each=each):
            scores = encoder.projections(pixels).reshape(M, K)[each.variable].double() / encoder.temperature
            return float(scores.softmax(dim=0)[each.bin].log())

        difference = output(pixels) - output(torch.zeros_like(pixels))
        assert abs(each.heat.sum() - difference) <= 0.02 * abs(difference)
        assert each.completeness <= 0.02
        assert each.heat.shape == (32, 32)
        assert each.heat.dtype == np.float32
    for each in found[1::2]:
        assert each.heat.shape == (32, 32)
        assert each.heat.min() >= 0
        assert np.isnan(each.completeness)


class Steep(nn.Module):
    """A step of height 1 at a mean of 0.7, so that few steps of the integral miss it."""

    def forward(self, images):
        return (400 * (images.mean(dim=(1, 2, 3)) - 0.7)).sigmoid()


def test_more_steps_are_taken_where_few_do_not_suffice():
    heat, completeness = integrated_gradients(Steep(), torch.ones(1, 1, 4, 4), ())
    assert completeness <= 0.02
    assert float(heat.sum()) == pytest.approx(1, abs=0.02)


class OfPlaces(nn.Module):
    """Tokens: a class token, which is the sum of the patches of the right half, and the patches."""

    def __init__(self, as_tokens):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 8, 8, bias=False)
        self.last = nn.Identity()
        self.as_tokens = as_tokens

    def forward(self, images):
        maps = self.patches(images)
        if not self.as_tokens:
            return self.last(maps)[..., maps.shape[3] // 2 :].sum(dim=(2, 3))
        tokens = maps.flatten(2).transpose(1, 2)
        tokens = self.last(torch.cat([tokens[:, :1], tokens], dim=1))
        patches = tokens[:, 1:].transpose(1, 2).reshape(maps.shape)
        return patches[..., maps.shape[3] // 2 :].sum(dim=(2, 3))


@pytest.mark.parametrize("as_tokens", [False, True])
def test_grad_cam_of_maps_and_of_tokens_is_the_definitions(as_tokens):
    torch.manual_seed(0)
    backbone = OfPlaces(as_tokens)
    encoder = Encoder(
        backbone, nn.Linear(4, M * K), lambda output: output,
        method="IMSVD", num_bins=K, temperature=1.0, plain=view, augment=view,
    )  # fmt: skip
    pixels = view(Noise(32)[0]).unsqueeze(0)
    encoder(pixels)
    type(encoder).cam_layer.fget(encoder)
    found = grad_cam(BinEvidence(encoder), pixels, (2, 3))

    maps = backbone.patches(pixels).detach().requires_grad_()
    scores = encoder.projector(maps[..., 2:].sum(dim=(2, 3))).reshape(M, K)[2]
    (gradient,) = torch.autograd.grad(scores.log_softmax(dim=0)[3], maps)
    cam = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True).relu()
    expected = nn.functional.interpolate(cam, (32, 32), mode="bilinear")[0, 0]
    torch.testing.assert_close(found, expected.detach())


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [(197, (224, 224), (14, 14)), (196, (224, 224), (14, 14)), (201, (224, 224), (14, 14)), (50, (224, 224), (7, 7)),
     (65, (32, 32), (8, 8)), (33, (64, 128), (4, 8))],
)  # fmt: skip
def test_patches_of_tokens(tokens, size, grid):
    assert patch_grid(tokens, size) == grid


def test_a_network_without_variables_is_refused():
    encoder = resnet_encoder()
    encoder.num_bins, encoder.method = None, "SSLHSIC"
    with pytest.raises(ValueError, match=r"encoder must have latent variables .* SSLHSIC"):
        list(attribute(encoder, Noise(32), [(0, 0, 0)]))
