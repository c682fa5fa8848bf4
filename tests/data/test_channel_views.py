"""Views of any number of channels change each channel on its own, in the image's unit."""

import numpy as np
import pytest
import torch

from imsvd_plugins.data.channel_views import ChannelView

NOTHING = {
    "min_scale": 1.0,
    "horizontal_flip": 0.0,
    "vertical_flip": 0.0,
    "quarter_turns": False,
    "gain": 0.0,
    "offset": 0.0,
    "noise": 0.0,
}


def image(channels=13, side=16):
    return np.random.default_rng(0).integers(0, 65536, (channels, side, side)).astype(np.uint16)


def test_without_changes_a_view_is_the_image():
    array = image()
    view = ChannelView(16, **NOTHING)(array)
    assert (view.dtype, view.shape) == (torch.float32, (13, 16, 16))
    assert np.array_equal(view.numpy(), array)


def test_flips_and_turns_give_the_eight_symmetries_of_a_square():
    view = ChannelView(16, **{**NOTHING, "horizontal_flip": 0.5, "vertical_flip": 0.5, "quarter_turns": True})
    array = torch.from_numpy(image().astype(np.float32))
    expected = {
        tuple(turned[0].flatten().tolist())
        for flipped in (array, array.flip(2))
        for turned in (flipped.rot90(k, (1, 2)) for k in range(4))
    }
    torch.manual_seed(0)
    found = {tuple(view(array)[0].flatten().tolist()) for _ in range(100)}
    assert found == expected


def test_a_gain_is_one_factor_a_channel():
    torch.manual_seed(0)
    array = image() + 1.0
    ratio = ChannelView(16, **{**NOTHING, "gain": 0.3})(array).numpy() / array
    factors = ratio.mean(axis=(1, 2))
    np.testing.assert_allclose(ratio, np.broadcast_to(factors[:, None, None], ratio.shape), rtol=1e-5)
    assert len(np.unique(factors)) == 13
    assert abs(factors - 1).max() <= 0.3


@pytest.mark.parametrize("setting", ["gain", "offset", "noise", "blur"])
def test_the_unit_of_the_values_does_not_matter(setting):
    view = ChannelView(16, **{**NOTHING, setting: 0.9})
    array, views = image().astype(np.float32), []
    for unit in (1.0, 1e-4):
        torch.manual_seed(3)
        views.append(view(array * np.float32(unit)) / unit)
    torch.testing.assert_close(views[0], views[1], rtol=1e-4, atol=1.0)
    assert (views[0] - torch.from_numpy(array)).abs().max() > 10


def test_noise_is_in_standard_deviations_of_its_channel():
    torch.manual_seed(0)
    array = torch.randn(2, 64, 64) * torch.tensor([1.0, 100.0]).view(2, 1, 1)
    noise = [(ChannelView(64, **{**NOTHING, "noise": 1.0})(array) - array).std(dim=(1, 2)) for _ in range(20)]
    strengths = torch.stack(noise) / torch.tensor([1.0, 100.0])
    torch.testing.assert_close(strengths[:, 0], strengths[:, 1], rtol=0.1, atol=0.01)
    assert 0.7 < strengths.max() < 1.1


def test_a_constant_image_stays_finite():
    assert ChannelView(8)(np.zeros((3, 9, 7), np.int16)).isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size must be at least 1"),
        ({"min_scale": 0.0}, r"min_scale must be in \(0, 1\]"),
        ({"gain": 1.0}, r"gain must be in \[0, 1\)"),
        ({"blur": 2.0}, "blur must be a probability"),
        ({"noise": -1.0}, "noise must be at least 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ChannelView(**{"size": 8, **settings})
