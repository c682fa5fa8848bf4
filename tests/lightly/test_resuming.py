"""A training that goes on with other settings than it began with: they count, or are refused; and it is said."""

import math
from functools import partial

import pytest
import torch
from pytorch_lightning import Callback
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, OneCycleLR, SequentialLR
from torch.utils.data import DataLoader

from imsvd_plugins.lightly.errors import SettingsError
from imsvd_plugins.lightly.resume import resumed_settings

BOTH = pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
SAID = "Resumed with other settings than the checkpoint's, which count from now on: "


class Rates(Callback):
    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, model, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.fixture
def train(small_model, make_trainer, loaders, tmp_path, caplog):
    """Trains, if `resumed` from the last training's checkpoint; returns the rates, the model and what is said."""

    def run(method, max_epochs, *, resumed=False, change=lambda model: None, data=loaders, **settings):
        caplog.clear()
        model, rates = small_model(method), Rates()
        change(model)
        trainer = make_trainer(max_epochs=max_epochs, callbacks=[rates], **settings)
        trainer.fit(model, *data, ckpt_path=tmp_path / "run.ckpt" if resumed else None)
        trainer.save_checkpoint(tmp_path / "run.ckpt")
        return rates.rates, model, [line for line in caplog.messages if line.startswith("Resumed")]

    return run


@BOTH
def test_more_epochs_go_on_with_the_longer_trainings_schedule(method, train):
    """Lightly's schedule would stay at the end that it had come to, with a warning for each step."""
    whole, *_ = train(method, 6)
    assert train(method, 2)[2] == []
    rates, _, said = train(method, 6, resumed=True)
    assert rates == pytest.approx(whole[8:])
    assert said == [f"{SAID}trainer.max_epochs = 6 (was 2)."]


def test_the_same_settings_say_nothing(train):
    train("imsvd", 2)
    assert train("imsvd", 2, resumed=True)[2] == []


def test_another_learning_rate_and_weight_decay_count(train):
    def optimizer(model, lr, weight_decay):
        model.make_optimizer = partial(torch.optim.AdamW, lr=lr, weight_decay=weight_decay)

    whole, *_ = train("imsvd", 4, change=partial(optimizer, lr=0.02, weight_decay=0.1))
    train("imsvd", 2, change=partial(optimizer, lr=0.01, weight_decay=0.3))
    changed = (
        r"trainer.max_epochs = 4 \(was 2\), optimizer.weight_decay = 0.1 \(was 0.3\), optimizer.lr = 0.02 \(was 0.01\)"
    )
    with pytest.warns(UserWarning, match=SAID + changed):
        rates, model, _ = train("imsvd", 4, resumed=True, change=partial(optimizer, lr=0.02, weight_decay=0.1))
    assert rates == pytest.approx(whole[8:])
    groups = model.trainer.optimizers[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.0]


def test_other_settings_of_the_loss_count(train):
    def other(model):
        model.criterion.num_bins, model.criterion.temperature = 8, 0.5

    train("imsvd", 2)
    changed = (
        r"criterion.num_bins = 8 \(was 4\), criterion.temperature = 0.5 \(was 1.0\), trainer.max_epochs = 3 \(was 2\)"
    )
    with pytest.warns(UserWarning, match=SAID + changed):
        train("imsvd", 3, resumed=True, change=other)


@BOTH
def test_another_batch_goes_on_at_the_same_epoch(method, train, loaders):
    """Half the steps an epoch: the end is still that of the schedule, and the target's momentum goes there with it."""
    whole, *_ = train(method, 4, data=[larger := DataLoader(loaders[0].dataset, batch_size=16), loaders[1]])
    train(method, 2)
    with pytest.warns(UserWarning, match=r"steps in an epoch = 2 \(was 4\)"):
        rates, model, _ = train(method, 4, resumed=True, data=[larger, loaders[1]])
    assert rates == pytest.approx(whole[4:])
    assert model.schedule_step() == model.training_steps() == 8
    # And once more, where the step that the checkpoint counts is no longer the schedule's.
    longer, *_ = train(method, 5, data=[larger, loaders[1]])
    train(method, 2)
    with pytest.warns(UserWarning, match="steps in an epoch"):
        train(method, 3, resumed=True, data=[larger, loaders[1]])
    rates, model, _ = train(method, 5, resumed=True, data=[larger, loaders[1]])
    assert rates == pytest.approx(longer[6:])
    assert model.schedule_step() == model.training_steps() == 10


def scheduled(model, scheduler, **settings):
    model.make_optimizer = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    model.make_scheduler = partial(scheduler, **settings)


def test_the_settings_of_another_schedule_count(train):
    """Also from a finished training, at whose end the rate is 0."""
    whole, *_ = train("imsvd", 4, change=partial(scheduled, scheduler=CosineAnnealingLR, T_max=4))
    train("imsvd", 2, change=partial(scheduled, scheduler=CosineAnnealingLR, T_max=2))
    change = partial(scheduled, scheduler=CosineAnnealingLR, T_max=4)
    with pytest.warns(UserWarning, match=r"lr_scheduler.T_max = 4 \(was 2\)"):
        rates, *_ = train("imsvd", 4, resumed=True, change=change)
    assert rates == pytest.approx(whole[8:])


def cycle(model, length):
    scheduled(model, OneCycleLR, max_lr=0.1, total_steps=length)


def sequence(model, length):
    def make(optimizer):
        parts = [ConstantLR(optimizer, 0.5, 1), ConstantLR(optimizer, 0.25, 9)]
        return SequentialLR(optimizer, parts, milestones=[length])

    scheduled(model, make)


def test_a_schedule_that_moves_the_momentum_goes_on_as_it_was(train):
    """Its present momentum differs from the planned one, and that is no change."""
    whole, reference, _ = train("imsvd", 4, change=partial(cycle, length=5))
    train("imsvd", 2, change=partial(cycle, length=5))
    rates, model, said = train("imsvd", 4, resumed=True, change=partial(cycle, length=5))
    assert said == [f"{SAID}trainer.max_epochs = 4 (was 2)."]
    assert rates == whole[8:]
    state = reference.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_schedule_whose_present_rate_cannot_be_told_is_not_changed(train):
    for change, first, second, message in (
        (cycle, 5, 6, "with OneCycleLR is resumed, got other total_steps"),
        (sequence, 1, 2, "with SequentialLR is resumed, got other _milestones"),
    ):
        train("imsvd", 1, change=partial(change, length=first))
        with pytest.raises(SettingsError, match=message):
            train("imsvd", 2, resumed=True, change=partial(change, length=second))


def test_a_schedule_of_another_class_is_refused(train):
    def cosine(model):
        model.make_scheduler = partial(CosineAnnealingLR, T_max=4)

    train("imsvd", 1)
    with pytest.raises(SettingsError, match=r"lr_scheduler must be .*, CosineWarmupScheduler, got CosineAnnealingLR"):
        train("imsvd", 2, resumed=True, change=cosine)


def test_another_batch_beside_a_schedule_of_ones_own_leaves_the_targets_momentum_its_length(train, loaders):
    change = partial(scheduled, scheduler=CosineAnnealingLR, T_max=6)
    larger = [DataLoader(loaders[0].dataset, batch_size=16), loaders[1]]
    train("ssl_hsic", 2, change=change)
    with pytest.warns(UserWarning, match=r"steps in an epoch = 2 \(was 4\)"):
        _, model, _ = train("ssl_hsic", 4, resumed=True, data=larger, change=change)
    assert model.schedule_step() == model.training_steps() == 8
    _, model, _ = train("ssl_hsic", 6, resumed=True, data=larger, change=change)
    assert model.schedule_step() == model.training_steps() == 12


@pytest.mark.parametrize("with_scheduler", [False, True])
def test_optimizers_of_a_subclass_own_resume(with_scheduler, train):
    def own(model):
        def configure_optimizers():
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            return ([optimizer], [CosineAnnealingLR(optimizer, 4)]) if with_scheduler else optimizer

        model.configure_optimizers = configure_optimizers

    whole, *_ = train("imsvd", 2, change=own)
    train("imsvd", 1, change=own)
    rates, *_ = train("imsvd", 2, resumed=True, change=own)
    assert rates == whole[4:]


def test_what_an_optimizer_cannot_take_over_is_refused(train):
    def sgd(model):
        model.make_optimizer = partial(torch.optim.SGD, lr=0.1)

    def decay(model):
        model.decay_norms_and_biases = True

    def wider(model):
        model.backbone[0] = torch.nn.Conv2d(3, 6, 5, stride=4)

    train("imsvd", 1)
    for change, message in (
        (sgd, "optimizer must be the checkpoint's when a training is resumed, LARS, got SGD"),
        (decay, "decay_norms_and_biases must be the checkpoint's when a training is resumed, not True"),
        (
            wider,
            r"another model: backbone.0.weight is \(6, 3, 3, 3\) in the checkpoint and \(6, 3, 5, 5\) in the model\.",
        ),
    ):
        with pytest.raises(SettingsError, match=message):
            train("imsvd", 2, resumed=True, change=change)


def test_a_checkpoint_without_settings_is_resumed_too(train, tmp_path):
    train("imsvd", 2)
    checkpoint = torch.load(tmp_path / "run.ckpt", weights_only=True)
    del checkpoint["imsvd_plugins_settings"]
    torch.save(checkpoint, tmp_path / "run.ckpt")
    rates, _, said = train("imsvd", 4, resumed=True)
    assert said == []
    assert len(rates) == 8
    assert math.isclose(rates[-1], 1e-3 * 0.6 * 8 / 256)


def test_weights_that_the_strategy_has_loaded_itself_are_not_compared(small_model):
    """FSDP and ModelParallel take them out of the checkpoint."""
    resumed_settings.check_fits(small_model("imsvd"), {"global_step": 8})
