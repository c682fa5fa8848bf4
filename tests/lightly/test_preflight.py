"""What is refused before the first step, and that looking changes nothing."""

import random
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset

from imsvd_plugins.lightly import IMSVD, SSLHSIC, IMSVDLoss, IMSVDProjectionHead, preflight
from imsvd_plugins.lightly.errors import SettingsError
from imsvd_plugins.losses import TooManyBinsWarning

pytestmark = [
    # The data are to train on alone.
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    # Lightning's own words, before the line.
    pytest.mark.filterwarnings("ignore:Total length of `\\w+` across ranks is zero"),
]


class Recorder(Dataset):
    """Draws its images from all random generators, and remembers that it was asked for one."""

    def __init__(self, length=32, size=16):
        self.length, self.size = length, size
        self.opened = False

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.opened = True
        random.random()
        np.random.rand()  # noqa: NPY002
        return [torch.rand(3, self.size, self.size) for _ in range(2)], index % 10


class Backbone(nn.Module):
    """Its features are as wide as the images are large, and it keeps what it has made."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.last = None

    def forward(self, x):
        self.last = self.norm(self.conv(x)).mean(dim=2).flatten(1)
        return self.last


def model(width):
    head = IMSVDProjectionHead(width, 16, 16)
    return IMSVD(8, 10, backbone=Backbone(), projection_head=head, criterion=IMSVDLoss(num_bins=4), warmup_epochs=0)


class Unreached(IMSVD):
    def training_step(self, batch, batch_idx):
        pytest.fail("a step was made")


def test_a_head_of_another_width_is_found_before_the_first_step(make_trainer):
    parts = {
        "backbone": Backbone(),
        "projection_head": IMSVDProjectionHead(64, 16, 16),
        "criterion": IMSVDLoss(num_bins=4),
    }
    with pytest.raises(SettingsError, match="input_dim must be the backbone's 32 features, got 64"):
        make_trainer(max_epochs=1).fit(Unreached(8, 10, warmup_epochs=0, **parts), DataLoader(Recorder(), 8))


class Pooling(IMSVD):
    def forward(self, x):
        return super().forward(x).unflatten(1, (16, 2)).mean(dim=2)


def test_features_that_a_subclass_makes_of_the_backbones_have_their_own_width(make_trainer):
    head = IMSVDProjectionHead(16, 16, 16)
    module = Pooling(8, 10, backbone=Backbone(), projection_head=head, criterion=IMSVDLoss(num_bins=4), warmup_epochs=0)
    trainer = make_trainer(max_epochs=1, limit_val_batches=0)
    trainer.fit(module, DataLoader(Recorder(), 8))
    assert trainer.global_step == 4


class FourBatches(BatchSampler):
    """Has nothing of its base class but the name."""

    def __init__(self):
        pass

    def __iter__(self):
        return iter(torch.arange(32).split(8))

    def __len__(self):
        return 4


def test_batches_that_a_sampler_of_another_kind_makes_are_left_to_the_first_step(make_trainer):
    trainer = make_trainer(max_epochs=1, limit_val_batches=0)
    trainer.fit(model(32), DataLoader(Recorder(), batch_sampler=FourBatches()))
    assert trainer.global_step == 4


class ByName(Recorder):
    def __getitem__(self, index):
        return super().__getitem__({f"{place}.png": place for place in range(len(self))}[index])


def test_a_dataset_without_an_image_0_is_left_to_the_first_step(make_trainer):
    trainer = make_trainer(max_epochs=1, limit_val_batches=0)
    trainer.fit(model(32), DataLoader(ByName(), 8, sampler=[f"{place}.png" for place in range(32)]))
    assert trainer.global_step == 4


def random_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def test_looking_changes_nothing():
    module, data = model(32), Recorder()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    before = random_states()
    trainer = SimpleNamespace(train_dataloader=DataLoader(data, 8), datamodule=None, lightning_module=module)
    assert preflight.num_features(trainer, module.backbone) == 32
    assert random_states() == before
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in state.items())
    assert module.backbone.last is None
    assert not data.opened  # What a dataset opens at its first image would be shared among the loader's processes.


class OfValues(Backbone):
    def forward(self, x):
        return super().forward(x) if float(x.sum()) > 0 else None


def test_what_cannot_be_known_beforehand_is_found_at_the_first_step(make_trainer):
    wrong = model(64)
    wrong.backbone = OfValues()
    with pytest.raises(SettingsError, match="input_dim must be the backbone's 32 features, got 64"):
        make_trainer(max_epochs=1, limit_val_batches=0).fit(wrong, DataLoader(Recorder(), 8))


def test_a_users_hook_sees_images_alone(make_trainer):
    module, seen = model(32), set()
    module.backbone.register_forward_hook(lambda part, inputs, output: seen.add(inputs[0].device.type))
    make_trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0).fit(module, DataLoader(Recorder(), 8))
    assert seen == {"cpu"}


@pytest.mark.parametrize(
    ("images", "loader", "message"),
    [
        (6, {"batch_size": 8, "drop_last": True}, "a device has 6 images, which make no whole batch of 8"),
        (6, {"batch_size": 1}, "batch_size must be at least 2, got 1"),
        (9, {"batch_size": 8}, "would hold one image, 9 in batches of 8: give the training data loader drop_last=True"),
    ],
)
def test_data_that_cannot_train_are_refused(images, loader, message, make_trainer):
    with pytest.raises(SettingsError, match=message):
        make_trainer(max_epochs=1).fit(model(32), DataLoader(Recorder(images), **loader))


def test_a_last_image_that_is_not_come_to_does_no_harm(make_trainer):
    trainer = make_trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(model(32), DataLoader(Recorder(9), 8))
    assert trainer.global_step == 1


def test_more_bins_than_a_batch_can_fill_are_warned_of_once(make_trainer):
    trainer = make_trainer(max_epochs=1, limit_val_batches=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model(32), DataLoader(Recorder(6), 3))
    messages = [str(warning.message) for warning in caught if warning.category is TooManyBinsWarning]
    assert len(messages) == 1
    assert messages[0].startswith(
        "num_bins = 4 with a batch of 3: the joint entropy of two variables cannot exceed log 3"
    )


def test_a_single_variable_is_refused():
    with pytest.raises(ValueError, match="num_bins = 16 of as many outputs of projection_head make a single variable"):
        IMSVD(8, 10, backbone=Backbone(), projection_head=IMSVDProjectionHead(32, 16, 16), criterion=IMSVDLoss(16))


@pytest.mark.parametrize("method", [IMSVD, SSLHSIC])
def test_without_classes_there_is_no_online_classifier(method, small_model, loaders, make_trainer):
    """And no labels: batches are of views alone, and validation images pass."""
    small = small_model("imsvd" if method is IMSVD else "ssl_hsic")
    parts = {name: getattr(small, name) for name in ("backbone", "projection_head", "criterion")}
    if method is SSLHSIC:
        parts["prediction_head"] = small.prediction_head
    module = method(8, None, warmup_epochs=1, **parts)
    assert module.online_classifier is None
    views = [(sample[0],) for sample in loaders[0].dataset]
    images = [(sample[0],) for sample in loaders[1].dataset]
    trainer = make_trainer(max_epochs=1)
    trainer.fit(module, *(DataLoader(data, 8) for data in (views, images)))
    assert trainer.global_step == 4
    assert not any("online" in name for name in trainer.callback_metrics)


def test_a_batch_size_is_needed_for_the_papers_learning_rate_alone():
    def sgd(groups):
        return torch.optim.SGD(groups, lr=0.1)

    settings = {"backbone": Backbone(), "projection_head": IMSVDProjectionHead(32, 16, 160)}
    IMSVD(None, 10, optimizer=sgd, **settings)
    with pytest.raises(ValueError, match="batch_size_per_device is missing, and the paper's learning rate goes by it"):
        IMSVD(None, 10, **settings)
