"""Arrays in Lightly's trainings: the files' values reach the network, and what does not fit is said before."""

from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

from imsvd_plugins.lightly import ChannelViewTransform
from imsvd_plugins.lightly.backbones import ResNet, TimmBackbone
from imsvd_plugins.lightly.data import ArraysDataModule
from imsvd_plugins.lightly.errors import SettingsError


def same(image):
    """Two views that are the image."""
    return [image, image]


@pytest.fixture
def root(tmp_path):
    """Twelve arrays of 13 bands in both layouts, in two folders."""
    generator = np.random.default_rng(0)
    for index in range(12):
        array = generator.integers(0, 65_536, (13, 20, 24)).astype(np.uint16)
        array[:, 0, 0] = index
        path = tmp_path / f"tile_{index % 2}" / f"{index:02}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, array if index % 3 else np.moveaxis(array, 0, -1))
    return tmp_path


def stored(root, index):
    array = np.load(next(root.rglob(f"{index:02}.npy")))
    return torch.from_numpy((array if array.shape[0] == 13 else np.moveaxis(array, -1, 0)).astype(np.float32))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_values_that_reach_the_network_are_the_files(root, workers):
    mean, std = torch.arange(26.0).mul(7).add(11).view(2, 13, 1, 1)
    data = ArraysDataModule(
        str(root),
        13,
        same,
        mean.flatten().tolist(),
        std.flatten().tolist(),
        batch_size_per_device=4,
        num_workers=workers,
    )
    data.prepare_data()
    data.setup("fit")
    seen = []
    for views, labels in data.train_dataloader():
        assert labels.tolist() == [0] * 4
        assert torch.equal(*views)
        for view in views[0]:
            index = round(float(view[0, 0, 0] * std[0, 0, 0] + mean[0, 0, 0]))
            assert torch.equal(view, (stored(root, index) - mean) / std)
            seen.append(index)
    assert sorted(seen) == list(range(12))


def test_views_of_lightlys_form():
    transform = ChannelViewTransform(input_size=16, num_views=3)
    views = transform(np.random.default_rng(0).normal(size=(13, 20, 24)))
    assert [tuple(view.shape) for view in views] == [(13, 16, 16)] * 3
    assert not torch.equal(views[0], views[1])
    with pytest.raises(ValueError, match="num_views must be at least 2, got 1"):
        ChannelViewTransform(num_views=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"mean": [0.0] * 12}, "mean must be a finite number or 13 of them"),
        ({"std": 0.0}, "std must be above 0"),
        ({"root": "absent"}, "there is no folder 'absent'"),
        ({"layout": "WHC"}, 'layout must be "CHW", "HWC" or None'),
    ],
)
def test_wrong_settings_are_refused(settings, message, root):
    with pytest.raises(ValueError, match=message):
        ArraysDataModule(**{"root": str(root), "channels": 13, "transform": same, **settings})


def test_what_does_not_fit_is_said_before_the_first_step(root):
    data = ArraysDataModule(str(root), 13, same, batch_size_per_device=4)
    data.trainer = SimpleNamespace(world_size=1, lightning_module=SimpleNamespace(backbone=ResNet(18)))
    with pytest.raises(SettingsError, match="the backbone's in_channels must be the data's 13, got 3"):
        data.setup("fit")
    data.trainer = None
    assert data.bank_dataloader() is None  # and so KNNCallback has nothing to do
    np.save(root / "wrong.npy", np.full((13, 8, 8), np.nan))
    with pytest.raises(SettingsError, match=r"root: 1 of 13 arrays .* are wrong: '.*wrong\.npy': .*NaN"):
        data.prepare_data()


@pytest.mark.parametrize("small_images", [False, True])
def test_backbones_of_any_number_of_channels(small_images):
    x = torch.randn(2, 13, 32, 32)
    model = ResNet(18, in_channels=13, small_images=small_images)
    assert model(x).shape == (2, 512)
    # All but the first convolution is as for three.
    shapes = [
        {key: value.shape for key, value in net.state_dict().items() if key != "conv1.weight"}
        for net in (model, ResNet(18, small_images=small_images))
    ]
    assert shapes[0] == shapes[1]
    made = TimmBackbone("resnet10t", in_channels=13)
    assert isinstance(made, timm.models.ResNet)
    assert made(x).shape == (2, 512)
    with pytest.raises(ValueError, match="in_channels must be at least 1, got 0"):
        ResNet(18, in_channels=0)
