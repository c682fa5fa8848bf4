"""A training by Lightning goes on exactly, between epochs and within one, for any number of loader workers."""

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

from imsvd_plugins.lightly import IMSVD, IMSVDLoss, IMSVDProjectionHead
from imsvd_plugins.lightly.data import DigitsDataModule
from imsvd_plugins.lightly.resume.resumable_loader import ResumableLoader

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
BATCH, EPOCHS = 300, 3  # four batches an epoch


class Views(Callback):
    """Keeps what the model sees, by global step."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        views, labels = batch
        self.seen[trainer.global_step] = (views[0].sum().item(), views[1].sum().item(), labels.sum().item())


@pytest.fixture
def fit(make_trainer, tmp_path):
    """Trains from the start or from a checkpoint; returns the weights and what the model saw."""

    def train(num_workers=0, ckpt_path=None, limit=1.0, seed=None, batch=BATCH, **length):
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        head = IMSVDProjectionHead(24, 16, 16)
        model = IMSVD(
            batch, 10, backbone=backbone, projection_head=head, criterion=IMSVDLoss(num_bins=4), warmup_epochs=1
        )
        views = Views()
        saving = ModelCheckpoint(tmp_path / "saved", filename="{step}", every_n_train_steps=1, save_top_k=-1)
        between = ModelCheckpoint(
            tmp_path / "saved", filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True, every_n_epochs=1
        )
        length = length or {"max_epochs": EPOCHS}
        trainer = make_trainer(
            enable_checkpointing=True,
            callbacks=[views, saving, between],
            limit_val_batches=0,
            limit_train_batches=limit,
            **length,
        )
        data = DigitsDataModule(batch, num_workers)
        if seed is not None:
            data.seed = seed
        trainer.fit(model, data, ckpt_path=ckpt_path)
        return model.state_dict(), views.seen

    return train


def assert_goes_on(resumed, whole, step):
    assert resumed[1] == {number: seen for number, seen in whole[1].items() if number >= step}
    for name, value in whole[0].items():
        assert torch.equal(resumed[0][name], value), name


# By max_steps Lightning itself takes the end of an epoch for its middle.
@pytest.mark.parametrize(
    ("length", "checkpoints"),
    [
        ({"max_epochs": EPOCHS}, [("step=2", 2, 0), ("step=8", 8, 0), ("epoch=1", 8, 1)]),
        ({"max_steps": 4 * EPOCHS, "max_epochs": -1}, [("step=6", 6, 1)]),
    ],
    ids=["epochs", "steps"],
)
def test_it_goes_on_from_anywhere(fit, tmp_path, length, checkpoints):
    whole = fit(seed=5, **length)
    assert sorted(whole[1]) == list(range(4 * EPOCHS))
    assert len(set(whole[1].values())) == 4 * EPOCHS
    for name, step, workers in checkpoints:
        # The checkpoint's seed counts, as for a run without seed_everything.
        assert_goes_on(fit(workers, tmp_path / "saved" / f"{name}.ckpt", **length), whole, step)


def test_a_limited_epoch_is_not_taken_for_an_interrupted_one(fit, tmp_path):
    whole = fit(limit=3, max_epochs=2)
    assert_goes_on(fit(ckpt_path=tmp_path / "saved" / "epoch=0.ckpt", limit=3, max_epochs=2), whole, 3)


@pytest.mark.filterwarnings("ignore:Resumed with other settings")
@pytest.mark.parametrize(("batch", "after", "steps"), [(150, 4, 5 + 9), (400, 2, 1 + 3)])
def test_an_epoch_goes_on_after_the_images_that_it_has_seen(fit, tmp_path, batch, after, steps):
    fit(max_epochs=2)
    line = rf"after 2 batches of 300 images; .* now has {batch}, so the epoch goes on after {after} of these"
    with pytest.warns(UserWarning, match=line):
        _, seen = fit(ckpt_path=tmp_path / "saved/step=2.ckpt", batch=batch, max_epochs=2)
    assert len(seen) == steps


@pytest.mark.filterwarnings("ignore:Resumed with other settings")
def test_another_batch_between_epochs_needs_no_warning(fit, tmp_path):
    fit(max_epochs=2)
    _, seen = fit(ckpt_path=tmp_path / "saved/epoch=0.ckpt", batch=150, max_epochs=2)
    assert len(seen) == 9


def test_another_batch_sampler_is_refused():
    loader = DataLoader([0, 1, 2], 2, sampler=RandomSampler([0, 1, 2]))
    with pytest.raises(TypeError, match=r"must have a SeededBatchSampler as its batch_sampler, got BatchSampler\."):
        ResumableLoader(loader)
