"""What the callbacks report, and that training goes on as without them. On two ranks: see test_command_ranks.py."""

import copy
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from imsvd_plugins.functional.diagnostics import representation_metrics
from imsvd_plugins.lightly import JointDistributionCallback, KNNCallback, RepresentationCallback
from imsvd_plugins.lightly.knn import _count_once, _own_share

BOTH = pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
VARIABLES = {"variable_entropy", "least_variable_entropy", "joint_entropy", "mutual_information", "unused_bins"}


class Data(pl.LightningDataModule):
    """The fixture's loaders with a bank: the training images' first view."""

    def __init__(self, loaders, bank=None):
        super().__init__()
        self.loaders = loaders
        self.bank = bank

    def train_dataloader(self):
        return self.loaders[0]

    def val_dataloader(self):
        return self.loaders[1]

    def bank_dataloader(self):
        return DataLoader([(views[0], label) for views, label, _ in self.loaders[0].dataset], batch_size=8)


@BOTH
def test_figures_are_those_of_the_last_batch(method, small_model, loaders, make_trainer):
    model = small_model(method)
    trainer = make_trainer(max_epochs=2, callbacks=[RepresentationCallback(num_samples=8)])
    trainer.fit(model, *loaders)
    model.eval()
    views = list(loaders[0])[-1][0]
    with torch.no_grad():
        features = [model(view).flatten(1) for view in views]
        z_a, z_b = (model.projection_head(found) for found in features)
    expected = representation_metrics(features[0], z_a, z_b, *((4,) if method == "imsvd" else ()))
    assert expected.keys() >= VARIABLES or method == "ssl_hsic"
    for name, value in expected.items():
        assert trainer.callback_metrics[f"train_{name}"].item() == pytest.approx(value, rel=1e-4, abs=1e-5), name


@BOTH
def test_training_goes_on_as_without_callbacks(method, small_model, loaders, make_trainer, tmp_path):
    states = []
    for callbacks in ([], [RepresentationCallback(num_samples=16), KNNCallback(k=5)]):
        model = small_model(method)
        make_trainer(max_epochs=2, callbacks=callbacks).fit(model, datamodule=Data(loaders))
        states.append(model.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_interval_counts_epochs_and_the_last_is_always_looked_at(small_model, loaders, make_trainer):
    seen = []

    class Count(RepresentationCallback):
        def evaluate(self, trainer, pl_module, features, z_a, z_b):
            seen.append((trainer.current_epoch, len(features)))

    make_trainer(max_epochs=5, callbacks=[Count(interval=2, num_samples=1000)]).fit(small_model("imsvd"), *loaders)
    assert seen == [(1, 32), (3, 32), (4, 32)]


@pytest.mark.parametrize(
    ("max_steps", "accumulate", "epoch", "num_batches"),
    [(6, 1, 1, 2), (8, 1, 1, 4), (3, 2, 1, 2), (4, 3, 1, 4), (5, 3, 2, 3)],
)
def test_a_training_may_end_by_its_steps(small_model, loaders, make_trainer, max_steps, accumulate, epoch, num_batches):
    """Of an epoch of four batches; of the last one the images that it has come to."""
    seen = []

    class Count(RepresentationCallback):
        def evaluate(self, trainer, pl_module, features, z_a, z_b):
            seen.append((trainer.current_epoch, len(features)))

    trainer = make_trainer(
        max_epochs=-1, max_steps=max_steps, accumulate_grad_batches=accumulate, callbacks=[Count(5, num_samples=1000)]
    )
    trainer.fit(small_model("imsvd"), *loaders)
    assert trainer.global_step == max_steps
    assert seen == [(epoch, 8 * num_batches)]


def test_what_the_metrics_mean_is_said_once(small_model, loaders, make_trainer, caplog):
    with caplog.at_level("INFO", logger="pytorch_lightning"):
        make_trainer(max_epochs=3, callbacks=[RepresentationCallback()]).fit(small_model("imsvd"), *loaders)
    [said] = [
        record.getMessage() for record in caplog.records if "metrics of the representation" in record.getMessage()
    ]
    lines = said.splitlines()[1:]
    logged = {"train_rankme", "train_alignment", "train_uniformity", *(f"train_{name}" for name in VARIABLES)}
    assert {line.strip().partition(":")[0] for line in lines} == logged
    assert (
        "train_uniformity: how evenly the projections spread over the sphere, about -4 to 0: low is good, 0 is" in said
    )


def test_a_collapse_is_named(small_model, loaders, make_trainer):
    model = small_model("imsvd")
    nn.init.zeros_(model.projection_head.layers[-1].weight)
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.0)
    with pytest.warns(UserWarning, match="The representation has collapsed: uniformity is"):
        make_trainer(max_epochs=1, callbacks=[RepresentationCallback()]).fit(model, *loaders)


def test_the_joint_distribution_is_drawn_for_each_logger(small_model, loaders, make_trainer, tmp_path):
    class Images(CSVLogger):
        images = ()

        def log_image(self, key, images, step):
            self.images = (*self.images, (key, step, len(images)))

    callback = JointDistributionCallback(interval=1, num_samples=16)
    logger = Images(tmp_path)
    make_trainer(max_epochs=2, callbacks=[callback], logger=logger).fit(small_model("imsvd"), *loaders)
    assert logger.images == tuple((name, step, 1) for step in (4, 8) for name in ("joint_distribution", "overview"))
    assert not list(tmp_path.rglob("*.png"))

    make_trainer(max_epochs=2, callbacks=[callback]).fit(small_model("imsvd"), *loaders)
    for name in ("joint_distribution", "overview"):
        written = sorted(path for path in tmp_path.rglob("*.png") if path.parent.name == name)
        assert [path.name for path in written] == ["epoch_0001.png", "epoch_0002.png"]
        assert np.ptp(matplotlib.image.imread(written[0])[..., :3]) > 0.5


def test_the_joint_distribution_reaches_tensorboard(small_model, loaders, make_trainer, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    callbacks = [JointDistributionCallback(interval=1, num_samples=16)]
    make_trainer(max_epochs=1, callbacks=callbacks, logger=logger).fit(small_model("imsvd"), *loaders)
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    for name in ("joint_distribution", "overview"):
        (image,) = events.Images(name)
        assert image.step == 4


def test_only_imsvd_has_a_joint_distribution(small_model, loaders, make_trainer):
    with pytest.raises(ValueError, match="must have an IMSVDLoss among its submodules, SSLHSIC has none"):
        make_trainer(max_epochs=1, callbacks=[JointDistributionCallback()]).fit(small_model("ssl_hsic"), *loaders)


@BOTH
def test_knn_is_scikit_learns(method, small_model, loaders, make_trainer):
    model, data = small_model(method), Data(loaders)
    trainer = make_trainer(callbacks=[KNNCallback(k=5, temperature=0.07)])
    trainer.validate(model, datamodule=data)
    model.eval()
    with torch.no_grad():
        bank, queries = (
            torch.cat([model(batch[0]).flatten(1) for batch in loader]).double()
            for loader in (data.bank_dataloader(), data.val_dataloader())
        )
    labels = [sample[1] for sample in loaders[1].dataset]
    classifier = KNeighborsClassifier(5, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
    expected = classifier.fit(bank.numpy(), labels).score(queries.numpy(), labels)
    assert 0 < expected < 1
    assert trainer.callback_metrics["val_knn_top1"].item() == pytest.approx(expected)


@pytest.mark.parametrize("averages_first", [True, False])
def test_knn_sees_averaged_weights_in_bank_and_queries(averages_first, small_model, loaders, make_trainer):
    """Lightning puts them in its own callback's turn; the accuracy must not depend on the order of the two."""
    model, data = small_model("imsvd"), Data(loaders)
    seen, current = [], []

    class Recorded(KNNCallback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            current.append(pl_module.backbone[0].weight.detach().clone())

        def on_validation_batch_end(self, trainer, pl_module, *arguments):
            super().on_validation_batch_end(trainer, pl_module, *arguments)
            if not trainer.sanity_checking:
                seen.append((self._bank[0], copy.deepcopy(pl_module.backbone)))

    callbacks = [EMAWeightAveraging(decay=0.5, update_every_n_steps=1), Recorded(k=5)]
    trainer = make_trainer(max_epochs=2, callbacks=callbacks if averages_first else callbacks[::-1])
    trainer.fit(model, datamodule=data)
    bank, backbone = seen[-1]
    assert not torch.equal(backbone[0].weight, current[-1])
    with torch.no_grad():
        features = torch.cat([backbone.eval()(images) for images, *_ in data.bank_dataloader()])
    torch.testing.assert_close(bank, features)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
def test_callbacks_take_the_trainers_precision(precision, small_model, loaders, make_trainer):
    trainer = make_trainer(precision=precision, max_epochs=1, callbacks=[RepresentationCallback(), KNNCallback(k=5)])
    model = small_model("imsvd")
    seen = set()
    model.backbone.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    trainer.fit(model, datamodule=Data(loaders))
    assert seen == {torch.float64 if precision == "64-true" else torch.bfloat16}
    assert 0 <= trainer.callback_metrics["val_knn_top1"] <= 1
    assert trainer.callback_metrics["train_rankme"] > 1


def test_knn_is_no_part_of_a_prediction(small_model, loaders, make_trainer):
    predicted = make_trainer(callbacks=[KNNCallback()]).predict(
        small_model("imsvd"), DataLoader(torch.rand(8, 3, 16, 16))
    )
    assert len(predicted) == 8


def test_a_part_that_is_frozen_stays_so(small_model, loaders, make_trainer):
    model = small_model("imsvd")
    modes = []

    class Frozen(RepresentationCallback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            modes.append((pl_module.backbone[1].training, pl_module.projection_head.training))
            pl_module.backbone[1].eval()

    make_trainer(max_epochs=1, callbacks=[Frozen(num_samples=1000)]).fit(model, *loaders)
    assert modes == [(True, True), *[(False, True)] * 3]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RepresentationCallback(interval=0), ValueError, "interval must be an int >= 1, got 0"),
        (lambda: RepresentationCallback(num_samples=1), ValueError, "num_samples must be an int >= 2, got 1"),
        (lambda: JointDistributionCallback(num_variables=0), ValueError, "num_variables must be an int >= 1"),
        (lambda: KNNCallback(k=2.0), TypeError, "k must be an int >= 1, got 2.0"),
        (lambda: KNNCallback(temperature=0), ValueError, "temperature must be a finite number > 0"),
    ],
)
def test_wrong_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_what_a_callback_lacks_is_said_before_the_training(small_model, loaders, make_trainer):
    with pytest.raises(ValueError, match="KNNCallback needs a data module with a method bank_dataloader"):
        make_trainer(max_epochs=1, callbacks=[KNNCallback()]).fit(small_model("imsvd"), *loaders)
    with pytest.raises(ValueError, match="k of KNNCallback must be at most the size of the bank, 32, got 33"):
        make_trainer(callbacks=[KNNCallback(k=33)]).validate(small_model("imsvd"), datamodule=Data(loaders))
    with pytest.raises(ValueError, match=r"needs a module with a backbone and a projection_head.* has no backbone"):
        make_trainer(max_epochs=1, callbacks=[RepresentationCallback()]).fit(BoringModel(), *loaders)


def test_the_training_data_must_have_an_end(small_model, loaders, make_trainer):
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            while True:
                yield loaders[0].dataset[0]

    model = small_model("imsvd")
    model.make_scheduler = torch.optim.lr_scheduler.ConstantLR
    trainer = make_trainer(max_steps=2, callbacks=[RepresentationCallback()])
    with pytest.raises(ValueError, match="must have a length, or the trainer a limit_train_batches"):
        trainer.fit(model, DataLoader(Endless(), batch_size=8), loaders[1])


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("images", [2, 7, 9])
def test_knn_counts_each_image_once_on_any_number_of_devices(devices, images):
    dataset = torch.arange(images)
    queries, bank = [], []
    for rank in range(devices):
        # As Lightning does, which gives all devices as many images.
        sampler = DistributedSampler(dataset, devices, rank, shuffle=False)
        loader = DataLoader(dataset, batch_size=2, sampler=sampler)
        trainer = SimpleNamespace(world_size=devices, global_rank=rank, val_dataloaders=loader)
        seen = torch.cat(list(loader))
        queries += seen[: _count_once(trainer, len(seen))].tolist()
        bank += [index for batch in _own_share(DataLoader(dataset, batch_size=2), trainer) for index in batch.tolist()]
    assert sorted(queries) == sorted(bank) == list(range(images))
