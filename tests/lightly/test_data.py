"""The data modules and backbones that config files name."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torchvision
from lightly.transforms import SwaVTransform
from PIL import Image
from torch import nn
from torchvision.transforms import v2 as T

from imsvd_plugins.data.digits import load_digits
from imsvd_plugins.lightly import IMSVDTransform
from imsvd_plugins.lightly.backbones import ResNet, SmallCNN, TimmBackbone
from imsvd_plugins.lightly.data import CIFAR10DataModule, DigitsDataModule, ImageFolderDataModule

TWO_VIEWS = IMSVDTransform(*[T.Compose([T.ToImage(), T.ToDtype(torch.float32, scale=True)])] * 2)


@pytest.fixture
def folders(tmp_path):
    """Six training and three validation images of three classes, each of one colour."""
    for part, count in (("train", 2), ("val", 1)):
        for label in range(3):
            (tmp_path / part / f"class_{label}").mkdir(parents=True)
            for index in range(count):
                image = Image.new("RGB", (300, 280), (80 * label, 0, 0))
                image.save(tmp_path / part / f"class_{label}" / f"{index}.png")
    return tmp_path


def test_digits_are_all_there_in_views_and_as_they_are():
    data = DigitsDataModule(batch_size_per_device=256, num_workers=0)
    data.setup("fit")
    (view_a, view_b), _ = next(iter(data.train_dataloader()))
    assert view_a.shape == view_b.shape == (256, 3, 16, 16)
    assert not torch.equal(view_a, view_b)
    assert len(data.train_dataloader()) == 1438 // 256
    for loader, split in ((data.bank_dataloader(), "train"), (data.val_dataloader(), "test")):
        images, expected = load_digits(split)
        found = list(loader)
        assert torch.cat([batch[1] for batch in found]).tolist() == expected.tolist()
        first = torch.from_numpy(images[0]).permute(2, 0, 1) / 255
        torch.testing.assert_close(found[0][0][0], (first - 0.5) / 0.5)


def test_an_image_folder(folders):
    data = ImageFolderDataModule(str(folders), TWO_VIEWS, batch_size_per_device=4, num_workers=0)
    assert data.num_classes == 3
    data.setup("fit")
    (view_a, _), labels = next(iter(data.train_dataloader()))
    assert view_a.shape == (4, 3, 280, 300)
    torch.testing.assert_close(view_a[:, 0, 0, 0] * 255, 80.0 * labels)
    images, labels = next(iter(data.val_dataloader()))
    assert images.shape == (3, 3, 224, 224)
    torch.testing.assert_close(images[:, 0, 0, 0], (80 * labels / 255 - 0.485) / 0.229)
    assert torch.cat([labels for _, labels in data.bank_dataloader()]).tolist() == [0, 0, 1, 1, 2, 2]


def test_cifar10_in_torchvisions_folder(cifar10, monkeypatch):
    root, _ = cifar10
    folder = root / "cifar-10-batches-py"
    images = np.concatenate([pickle.loads((folder / f"data_batch_{i}").read_bytes())["data"] for i in range(1, 6)])
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", lambda self: None)
    data = CIFAR10DataModule(str(root), TWO_VIEWS, batch_size_per_device=4, num_workers=0)
    data.prepare_data()
    data.setup("fit")
    assert len(data.train_dataset) == len(data.bank_dataset) == len(images)
    view = torch.from_numpy(images[0].reshape(3, 32, 32)) / 255
    torch.testing.assert_close(data.train_dataset[0][0][0], view)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"batch_size_per_device": 1}, ValueError, "batch_size_per_device must be an int >= 2, got 1"),
        ({"num_workers": -1}, ValueError, "num_workers must be an int >= 0, got -1"),
        (
            {"root": "nowhere"},
            ValueError,
            "root must be a folder with train and val in it, got 'nowhere' without train",
        ),
    ],
)
def test_wrong_settings_are_refused(change, error, message, folders):
    settings = {"root": str(folders), "batch_size_per_device": 4, "num_workers": 0, **change}
    with pytest.raises(error, match=message):
        ImageFolderDataModule(transform=TWO_VIEWS, **settings)


def test_folders_of_different_classes_are_refused(folders):
    (folders / "val" / "class_3").mkdir()
    with pytest.raises(ValueError, match=r"must hold the same classes; these differ: \['class_3'\]"):
        ImageFolderDataModule(str(folders), TWO_VIEWS)


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 7), (2, 4)])
def test_a_batch_larger_than_a_devices_share_is_refused(folders, devices, batch_size):
    data = ImageFolderDataModule(str(folders), TWO_VIEWS, batch_size_per_device=batch_size)
    data.trainer = SimpleNamespace(world_size=devices)
    share = f"share of the training images, {6 // devices} of 6 on {devices} device"
    with pytest.raises(ValueError, match=rf"{share}\(s\), got {batch_size}"):
        data.setup("fit")


@pytest.mark.parametrize("depth", [18, 50])
def test_a_resnet_is_torchvisions_but_for_its_classifier(depth):
    torch.manual_seed(0)
    ours = ResNet(depth, zero_init_residual=False).eval()
    theirs = torchvision.models.get_model(f"resnet{depth}").eval()
    weights = theirs.state_dict()
    assert set(weights) - set(ours.state_dict()) == {"fc.weight", "fc.bias"}
    ours.load_state_dict(weights, strict=False)
    theirs.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours(x), theirs(x))


def test_a_resnet_for_small_images_keeps_their_size_in_the_stem():
    model = ResNet(18, small_images=True)
    x = torch.randn(2, 3, 32, 32)
    assert model.maxpool(model.conv1(x)).shape == (2, 64, 32, 32)
    assert model(x).shape == (2, 512)
    assert not model.layer1[0].bn2.weight.any()


def test_other_backbones():
    assert SmallCNN()(torch.randn(2, 3, 16, 16)).shape == (2, 128)
    model = TimmBackbone("resnet10t", options={"in_chans": 1})
    assert isinstance(model, timm.models.ResNet)  # timm's own, so that its weights keep their names
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 512)
    with pytest.raises(ValueError, match="depth must be one of 18, 34, 50, 101, 152, got 20"):
        ResNet(20)
    with pytest.raises(RuntimeError, match="Unknown model"):
        TimmBackbone("no_such_model")


def test_imsvd_trains_on_views_of_two_sizes(small_model):
    transform = SwaVTransform(crop_sizes=(32, 16), crop_counts=(2, 2))
    batch = [transform(Image.new("RGB", (48, 48), (30 * i, 100, 50))) for i in range(8)]
    views = [torch.stack(view) for view in zip(*batch, strict=True)]
    assert [view.shape[-1] for view in views] == [32, 32, 16, 16]
    model = small_model("imsvd")
    model.log = model.log_dict = lambda *args, **kwargs: None
    model.training_step((views, torch.arange(8) % 5), 0).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.backbone.parameters())


def test_a_checkpoints_seed_that_takes_the_place_of_another_is_said(caplog):
    data = DigitsDataModule(batch_size_per_device=8)
    data.seed = 7
    data.load_state_dict({"seed": 7})
    assert caplog.messages == []
    data.load_state_dict({"seed": 5})
    assert data.seed == 5
    assert caplog.messages == [
        "The data's order and views go on with the checkpoint's seed 5, not with the 7 of this run's seed_everything."
    ]
