"""A config with hue jitter is refused before data is loaded, if and only if mmcv fails at it."""

import mmcv
import numpy as np
import pytest
from mmengine.config import Config
from mmpretrain.datasets.transforms import ColorJitter

from imsvd_plugins.openmmlab.compatibility.hue_jitter import check_hue_jitter


def config(kind="ColorJitter", **settings):
    jitter = dict(type="RandomApply", transforms=[dict(type=kind, brightness=0.4, **settings)], prob=0.8)
    views = dict(type="MultiView", num_views=[1, 1], transforms=[[dict(type="RandomFlip")], [jitter]])
    dataset = dict(type="ImageNet", pipeline=[dict(type="LoadImageFromFile"), views])
    return Config(dict(train_dataloader=dict(dataset=dataset), val_dataloader=None))


WHERE = r"train_dataloader\.dataset\.pipeline\[1\]\.transforms\[1\]\[0\]\.transforms\[0\] jitters the hue"


@pytest.fixture
def overflowing(monkeypatch):
    """mmcv 2.2.0's hue jitter as it is under numpy 2."""

    def adjust_hue(img, hue_factor, backend=None):
        value = int(hue_factor * 255)
        if not 0 <= value <= 255:
            raise OverflowError(f"Python integer {value} out of bounds for uint8")
        return img

    monkeypatch.setattr(mmcv, "adjust_hue", adjust_hue)


@pytest.mark.parametrize("settings", [{"hue": 0.1}, {"hue": (-0.1, 0.0)}, {"hue": [-0.1, 0.1]}])
@pytest.mark.parametrize("kind", ["ColorJitter", "mmpretrain.ColorJitter", ColorJitter])
@pytest.mark.usefixtures("overflowing")
def test_hue_jitter_is_refused_where_mmcv_fails(kind, settings):
    with pytest.raises(ValueError, match=WHERE) as caught:
        check_hue_jitter(config(kind, **settings))
    message = str(caught.value)
    assert "\n" not in message
    assert "pip install 'numpy<2'" in message
    assert "imsvd_plugins[onedl]" in message


@pytest.mark.parametrize("settings", [{}, {"hue": 0.0}, {"hue": (0.0, 0.1)}])
@pytest.mark.usefixtures("overflowing")
def test_without_a_negative_change_nothing_is_refused(settings):
    check_hue_jitter(config(**settings))


@pytest.mark.usefixtures("overflowing")
def test_torchvisions_is_left_alone():
    check_hue_jitter(config("torchvision/ColorJitter", hue=0.1))


def test_refusal_agrees_with_the_installed_mmcv():
    try:
        mmcv.adjust_hue(np.zeros((4, 4, 3), np.uint8), -0.1)
    except OverflowError:
        with pytest.raises(ValueError, match=WHERE):
            check_hue_jitter(config(hue=0.1))
    else:
        check_hue_jitter(config(hue=0.1))
