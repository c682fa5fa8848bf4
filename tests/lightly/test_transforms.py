import pytest
import torch
from lightly.transforms import BYOLView1Transform, GaussianBlur, RandomSolarization
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.utils import IMAGENET_NORMALIZE
from PIL import Image
from torchvision.transforms import v2

from imsvd_plugins.lightly import METHODS, HSICTransform, IMSVDTransform

BOTH = pytest.mark.parametrize("transform_class", [IMSVDTransform, HSICTransform])


def step(view, kind):
    """The view's one step of a class."""
    (found,) = (step for step in view.transform.transforms if isinstance(step, kind))
    return found


def settings(view):
    crop, jitter = step(view, v2.RandomResizedCrop), step(view, v2.RandomApply)
    (colours,) = jitter.transforms
    return {
        "size": tuple(crop.size),
        "scale": crop.scale,
        "flip": step(view, v2.RandomHorizontalFlip).p,
        "jitter": (jitter.p, *(round(high - 1, 6) for _, high in (colours.brightness, colours.contrast))),
        "saturation": round(colours.saturation[1] - 1, 6),
        "hue": colours.hue[1],
        "grey": step(view, v2.RandomGrayscale).p,
        "blur": step(view, GaussianBlur).prob,
        "solarize": step(view, RandomSolarization).prob,
    }


IMAGENET = {
    "size": (224, 224),
    "scale": (0.08, 1.0),
    "flip": 0.5,
    "jitter": (0.8, 0.4, 0.4),
    "saturation": 0.2,
    "hue": 0.1,
    "grey": 0.2,
}


@BOTH
def test_defaults_are_byols_two_views(transform_class):
    first, second = transform_class().transforms
    assert settings(first) == {**IMAGENET, "blur": 1.0, "solarize": 0.0}
    assert settings(second) == {**IMAGENET, "blur": 0.1, "solarize": 0.2}
    assert step(first, v2.Normalize).mean == IMAGENET_NORMALIZE["mean"]


def test_cifar10_views_of_the_docstring():
    view = BYOLView1Transform(input_size=32, min_scale=0.2, cj_sat=0.4, gaussian_blur=0.0)
    for made in IMSVDTransform(view, view).transforms:
        assert settings(made) == {
            **IMAGENET,
            "size": (32, 32),
            "scale": (0.2, 1.0),
            "saturation": 0.4,
            "blur": 0.0,
            "solarize": 0.0,
        }


@BOTH
def test_an_image_becomes_two_different_views(transform_class):
    transform = transform_class()
    assert isinstance(transform, MultiViewTransform)
    torch.manual_seed(0)
    image = Image.radial_gradient("L").convert("RGB")
    first, second = transform(image)
    assert first.shape == second.shape == (3, 224, 224)
    assert first.dtype == torch.float32
    assert not torch.equal(first, second)


def test_methods_hold_the_transforms():
    assert isinstance(METHODS["imsvd"]["transform"], IMSVDTransform)
    assert isinstance(METHODS["ssl_hsic"]["transform"], HSICTransform)
