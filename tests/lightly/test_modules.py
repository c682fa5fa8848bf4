import copy
import math
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist
from lightly.models.modules.heads import ProjectionHead
from lightly.utils.lars import LARS
from pytorch_lightning import Callback
from torch import nn
from torch.utils.data import DataLoader

from imsvd_plugins.lightly import (
    IMSVD,
    METHODS,
    SSLHSIC,
    HSICLoss,
    HSICPredictionHead,
    HSICProjectionHead,
    IMSVDLoss,
    IMSVDProjectionHead,
)

EPOCHS, STEPS_PER_EPOCH = 4, 4
BOTH = pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
PEAK = {"imsvd": 0.6 * 8 / 256, "ssl_hsic": 0.4 * 8 / 256}
TERMS = {
    "imsvd": {"train_loss", "train_diagonal", "train_off_diagonal", "train_invariance"},
    "ssl_hsic": {"train_loss", "train_hsic_zy", "train_hsic_zz", "train_scale"},
}
ONLINE_CLASSIFIER = {"online_cls_loss", "online_cls_top1", "online_cls_top5"}


@BOTH
def test_methods_are_what_lightlys_benchmark_builds(method):
    with torch.device("meta"):
        model = METHODS[method]["model"](batch_size_per_device=256, num_classes=1000)
    assert sum(p.numel() for p in model.backbone.parameters()) == 23_508_032  # ResNet-50 without its classifier
    assert model.online_classifier.feature_dim == 2048
    assert model.criterion.gather_distributed
    assert METHODS[method]["transform"] is not None


def test_the_criteria_are_the_papers():
    with torch.device("meta"):
        imsvd, ssl_hsic = (entry["model"](256, 1000).criterion for entry in METHODS.values())
    assert isinstance(imsvd, IMSVDLoss)
    assert (imsvd.num_bins, imsvd.temperature) == (80, 1.0)
    assert isinstance(ssl_hsic, HSICLoss)
    assert (ssl_hsic.num_features, ssl_hsic.gamma, ssl_hsic.learn_scale) == (512, 3.0, True)


def test_residual_branches_of_the_default_backbone_begin_at_zero():
    model = METHODS["imsvd"]["model"](2, 10, projection_head=IMSVDProjectionHead(2048, 4, 160))
    assert not any(block.bn3.weight.any() for block in model.backbone.layer4)


@BOTH
def test_every_term_is_logged_by_name(method, small_model, loaders, make_trainer):
    trainer = make_trainer(max_epochs=1)
    trainer.fit(small_model(method), *loaders)
    logged = trainer.callback_metrics
    classifier = {f"{stage}_{name}" for stage in ("train", "val") for name in ONLINE_CLASSIFIER}
    assert set(logged) == TERMS[method] | classifier
    assert all(math.isfinite(value) for value in logged.values())


def test_imsvd_takes_more_than_two_views(small_model, loaders):
    model = small_model("imsvd")
    logged = {}
    model.log = lambda name, value, **kwargs: logged.update({name: value})
    model.log_dict = lambda log, **kwargs: logged.update(log)
    (view_a, view_b), targets, *rest = next(iter(loaders[0]))
    views = [view_a, view_b, view_a.flip(-1)]
    model.training_step((views, targets, *rest), 0).backward()
    with torch.no_grad():
        z = [model.projection_head(model(view).flatten(start_dim=1)) for view in views]
    assert logged["train_loss"].item() == pytest.approx(model.criterion(*z).item(), rel=1e-4)


@BOTH
def test_the_online_classifier_does_not_train_the_backbone(method, small_model, loaders):
    model = small_model(method)
    model.log = model.log_dict = lambda *args, **kwargs: None
    batch = next(iter(loaders[0]))
    total = model.training_step(batch, 0)
    with_classifier = torch.autograd.grad(total, list(model.backbone.parameters()))
    model = small_model(method)
    model.log = model.log_dict = lambda *args, **kwargs: None
    model.online_classifier.training_step = lambda batch, batch_idx: (torch.zeros(()), {})
    without = torch.autograd.grad(model.training_step(batch, 0), list(model.backbone.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(with_classifier, without, strict=True))


@BOTH
def test_norms_and_biases_have_neither_decay_nor_adaptation(method, small_model, loaders, make_trainer):
    model = small_model(method)
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, *loaders)
    (optimizer,) = trainer.optimizers
    assert isinstance(optimizer, LARS)
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert set(groups) == {method, f"{method}_no_weight_decay", "online_classifier"}
    decayed = groups[method]
    assert (decayed["weight_decay"], decayed["momentum"], decayed["trust_coefficient"]) == (1e-6, 0.9, 1e-3)
    # Lightly's LARS leaves parameters without weight decay unscaled.
    assert groups[f"{method}_no_weight_decay"]["weight_decay"] == groups["online_classifier"]["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in groups[f"{method}_no_weight_decay"]["params"])
    held = {id(parameter) for group in groups.values() for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


class LearningRates(Callback):
    """Keeps the rate of every step of the optimizer."""

    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, model, optimizer):
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        self.rates.append(rate)


@BOTH
@pytest.mark.parametrize("accumulate", [1, 2])
def test_learning_rate_warms_up_to_its_peak_and_falls_to_a_thousandth(
    method, accumulate, small_model, loaders, make_trainer
):
    rates = LearningRates()
    trainer = make_trainer(max_epochs=EPOCHS, accumulate_grad_batches=accumulate, callbacks=[rates])
    trainer.fit(small_model(method), *loaders)
    warmup = STEPS_PER_EPOCH // accumulate
    assert len(rates.rates) == EPOCHS * warmup
    assert rates.rates[:warmup] == pytest.approx([PEAK[method] * (step + 1) / warmup for step in range(warmup)])
    assert max(rates.rates) == pytest.approx(PEAK[method])
    assert rates.rates[-1] == pytest.approx(0.001 * PEAK[method])


class TargetMomenta(Callback):
    """Solves each batch's update of the target, target' = m target + (1 - m) online', for m; None where it stood."""

    def __init__(self):
        self.momenta = []

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        self.before = self.target(model)

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        online = nn.utils.parameters_to_vector(model.backbone.parameters()).detach()
        gap = self.before - online
        moved = self.target(model) - online
        self.momenta.append(None if torch.equal(self.before, self.target(model)) else float(moved @ gap / (gap @ gap)))

    @staticmethod
    def target(model):
        return nn.utils.parameters_to_vector(model.target_backbone.parameters()).detach().clone()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_target_momentum_climbs_from_99_percent_to_1_by_cosine(accumulate, small_model, loaders, make_trainer):
    momenta = TargetMomenta()
    trainer = make_trainer(max_epochs=EPOCHS, accumulate_grad_batches=accumulate, callbacks=[momenta])
    trainer.fit(small_model("ssl_hsic").double(), *(to_double(loader) for loader in loaders))
    steps = EPOCHS * STEPS_PER_EPOCH // accumulate
    expected = [1 - 0.01 * (math.cos(math.pi * step / (steps - 1)) + 1) / 2 for step in range(steps - 1)]
    assert momenta.momenta[accumulate - 1 :: accumulate][:-1] == pytest.approx(expected, abs=1e-9)
    assert momenta.momenta[-1] is None  # a momentum of 1
    if accumulate == 2:
        assert set(momenta.momenta[::2]) == {None}


def to_double(loader):
    loader.collate_fn = lambda samples, default=loader.collate_fn: [
        [part.double() for part in value]
        if isinstance(value, list) and torch.is_tensor(value[0])
        else value.double()
        if torch.is_tensor(value) and value.is_floating_point()
        else value
        for value in default(samples)
    ]
    return loader


def test_the_target_network_begins_as_the_online_one_and_is_not_trained(small_model):
    model = small_model("ssl_hsic")
    for online, target in (
        (model.backbone, model.target_backbone),
        (model.projection_head, model.target_projection_head),
    ):
        pairs = list(zip(online.parameters(), target.parameters(), strict=True))
        assert all(torch.equal(a, b) and a is not b and not b.requires_grad for a, b in pairs)


@BOTH
def test_a_resumed_training_is_the_uninterrupted_one(method, small_model, loaders, make_trainer, tmp_path):
    """Also the loss' state: the kernel's scale and the number of draws."""

    checkpoint = tmp_path / "second_epoch.ckpt"

    class Save(Callback):
        def on_train_epoch_end(self, trainer, model):
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(checkpoint)

    uninterrupted, resumed = small_model(method), small_model(method)
    make_trainer(max_epochs=EPOCHS, callbacks=[Save()]).fit(uninterrupted, *loaders)
    make_trainer(max_epochs=EPOCHS).fit(resumed, *loaders, ckpt_path=checkpoint)
    expected, state = uninterrupted.state_dict(), resumed.state_dict()
    assert expected.keys() == state.keys()
    assert all(torch.equal(expected[name], state[name]) for name in expected)
    if method == "ssl_hsic":
        assert int(state["criterion._extra_state"]) == EPOCHS * STEPS_PER_EPOCH
        assert float(resumed.criterion.scale) != 1.0


@BOTH
def test_a_training_shorter_than_the_warm_up_climbs_to_the_peak(method, small_model, loaders, make_trainer):
    """As in a trial of one epoch of Lightly's benchmark, which builds the recipe's ten epochs of warm-up."""
    rates = LearningRates()
    model = small_model(method)
    model.warmup_epochs = 10
    with pytest.warns(UserWarning, match="warmup_epochs = 10 is longer than the training, 1 epochs"):
        make_trainer(max_epochs=1, callbacks=[rates]).fit(model, *loaders)
    steps = STEPS_PER_EPOCH
    assert rates.rates == pytest.approx([PEAK[method] * (step + 1) / steps for step in range(steps)])


@pytest.mark.parametrize("max_epochs", [-1, 5])
def test_a_training_may_end_by_its_steps(max_epochs, small_model, loaders, make_trainer):
    rates = LearningRates()
    steps = 2 * STEPS_PER_EPOCH
    make_trainer(max_epochs=max_epochs, max_steps=steps, callbacks=[rates]).fit(small_model("ssl_hsic"), *loaders)
    by_epochs = LearningRates()
    make_trainer(max_epochs=2, callbacks=[by_epochs]).fit(small_model("ssl_hsic"), *loaders)
    assert rates.rates == by_epochs.rates
    assert len(rates.rates) == steps


class Endless(torch.utils.data.IterableDataset):
    def __init__(self, dataset):
        self.dataset = dataset

    def __iter__(self):
        while True:
            yield self.dataset[0]


def test_a_warm_up_in_epochs_needs_epochs(small_model, loaders, make_trainer):
    with pytest.raises(ValueError, match="warmup_epochs = 1 needs epochs of a known length"):
        make_trainer(max_steps=2).fit(
            small_model("imsvd"), DataLoader(Endless(loaders[0].dataset), batch_size=8), loaders[1]
        )


@BOTH
@pytest.mark.parametrize("max_epochs", [-1, 2])
def test_a_schedule_to_the_last_step_needs_one(max_epochs, method, small_model, loaders, make_trainer):
    endless = DataLoader(Endless(loaders[0].dataset), batch_size=8)
    with pytest.raises(ValueError, match=f"the trainer max_epochs, max_steps .* got max_epochs = {max_epochs}"):
        make_trainer(max_epochs=max_epochs).fit(small_model(method), endless, loaders[1])


@BOTH
@pytest.mark.parametrize("all_decay", [False, True])
def test_another_optimizer_and_schedule(method, all_decay, small_model, loaders, make_trainer):
    model = small_model(method)
    model.make_optimizer = partial(torch.optim.SGD, lr=0.25, weight_decay=0.125)
    model.make_scheduler = partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[1], gamma=0.5)
    model.decay_norms_and_biases = all_decay
    rates = LearningRates()
    trainer = make_trainer(max_epochs=2, callbacks=[rates])
    trainer.fit(model, *loaders)
    assert rates.rates == [0.25] * STEPS_PER_EPOCH + [0.125] * STEPS_PER_EPOCH
    decayed = {id(p) for group in trainer.optimizers[0].param_groups if group["weight_decay"] for p in group["params"]}
    networks = {p for name, p in model.named_parameters() if p.requires_grad and "online_classifier" not in name}
    assert decayed == {id(p) for p in networks if all_decay or p.ndim > 1}


def test_bins_that_do_not_divide_the_projection_are_refused_at_once():
    with torch.device("meta"), pytest.raises(ValueError, match=r"num_bins must divide .* D = 8160, got num_bins = 7"):
        METHODS["imsvd"]["model"](256, 1000, criterion=IMSVDLoss(num_bins=7))


def test_a_head_of_another_width_than_the_backbone_is_named(small_model, loaders, make_trainer):
    model = small_model("imsvd")
    model.backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1))
    with pytest.raises(ValueError, match="projection_head's input_dim must be the backbone's 3 features, got"):
        make_trainer(max_epochs=1).fit(model, *loaders)


def test_a_predictor_of_another_width_than_the_projector_is_refused():
    with pytest.raises(ValueError, match="must map the 128 outputs of projection_head to as many, got a head from 256"):
        SSLHSIC(8, 10, backbone=nn.Identity(), projection_head=HSICProjectionHead(512, 64, 128))


@pytest.mark.parametrize("large", [(0, 1), (1, 2), (0, 1, 2, 3)])
def test_ssl_hsic_predicts_all_views_of_a_multi_crop_from_the_largest(large, small_model, loaders):
    model = small_model("ssl_hsic")
    logged = {}
    model.log = lambda name, value, **kwargs: logged.update({name: value})
    model.log_dict = lambda log, **kwargs: logged.update(log)
    (view_a, view_b), targets, *rest = next(iter(loaders[0]))
    views = [view_a, view_b, view_a.flip(-1), view_b.flip(-1)]
    views = [view if index in large else view[:, :, 2:13, 3:14] for index, view in enumerate(views)]
    seen = []
    model.target_backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.training_step((views, targets, *rest), 0).backward()
    assert [tuple(view.shape) for view in seen] == [(8, 3, 16, 16)] * len(large)
    twin = small_model("ssl_hsic")
    with torch.no_grad():
        predictions = [twin.prediction_head(twin.projection_head(twin.backbone(view))) for view in views]
        projections = [twin.target_projection_head(twin.target_backbone(views[index])) for index in large]
        expected = twin.criterion(*predictions, *projections)
    assert logged["train_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert all(parameter.grad is None for parameter in model.target_backbone.parameters())


def test_ssl_hsic_takes_two_views_or_more():
    model = SSLHSIC(8, 10, backbone=nn.Identity())
    with pytest.raises(ValueError, match="takes two or more views of each image, got 1"):
        model.training_step(([torch.zeros(8, 2048)], torch.zeros(8)), 0)


def test_a_warm_up_is_not_negative():
    with pytest.raises(ValueError, match="warmup_epochs"):
        IMSVD(8, 10, backbone=nn.Identity(), warmup_epochs=-1)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_few_classes_have_a_smaller_second_figure(num_classes, small_model):
    model = IMSVD(8, num_classes, backbone=nn.Identity())
    assert model.online_classifier.topk == (1, num_classes)


def test_ssl_hsic_compares_predictions_with_the_targets_projections(small_model, loaders, make_trainer):
    """The logged loss is the one of all four sets of vectors, and both parts of the target follow."""
    model = small_model("ssl_hsic")
    with torch.no_grad():
        for target in (model.target_backbone, model.target_projection_head):
            for parameter in target.parameters():
                parameter.mul_(1.5)
    before = copy.deepcopy(model)
    after = {}

    class FirstStep(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            after.update(loss=trainer.callback_metrics["train_loss"].item())
            after.update((name, value.clone()) for name, value in pl_module.state_dict().items())
            trainer.should_stop = True

    make_trainer(max_epochs=2, callbacks=[FirstStep()]).fit(model, *loaders)
    views = next(iter(loaders[0]))[0]
    twin = copy.deepcopy(before)
    with torch.no_grad():
        predictions = [twin.prediction_head(twin.projection_head(twin.backbone(view))) for view in views]
        projections = [twin.target_projection_head(twin.target_backbone(view)) for view in views]
        expected = twin.criterion(*predictions, *projections)
    assert after["loss"] == pytest.approx(expected.item(), rel=1e-5)
    for name in ("backbone.0.weight", "projection_head.layers.0.weight"):
        old = before.state_dict()[f"target_{name}"]
        torch.testing.assert_close(after[f"target_{name}"], 0.99 * old + 0.01 * after[name])


@BOTH
def test_the_papers_learning_rate_is_that_of_all_devices(method, small_model):
    model = small_model(method)
    model.make_scheduler = partial(torch.optim.lr_scheduler.StepLR, step_size=1)
    model.trainer = SimpleNamespace(world_size=8)
    [optimizer], _ = model.configure_optimizers()
    assert {group["lr"] for group in optimizer.param_groups} == {model.learning_rate * model.batch_size_per_device / 32}


def _module(method, **ranks):
    torch.manual_seed(0)
    # Without batch normalisation, which is of a rank's own images.
    settings = {"backbone": nn.Sequential(nn.Flatten(), nn.Linear(48, 8)), "optimizer": torch.optim.SGD}
    if method == "imsvd":
        head = IMSVDProjectionHead(8, 8, 16)
        model = IMSVD(None, None, projection_head=head, criterion=IMSVDLoss(4, **ranks), **settings)
    else:
        head, predictor = HSICProjectionHead(8, 8, 5), HSICPredictionHead(5, 8, 5)
        heads = {"projection_head": head, "prediction_head": predictor}
        model = SSLHSIC(None, None, criterion=HSICLoss(num_features=32, **ranks), **heads, **settings)
    logged = {}
    model.log = lambda name, value, **kwargs: logged.update({name: value.item()})
    model.log_dict = lambda log, **kwargs: None
    return model.eval(), logged


def _loss_of_a_group(rank, method):
    """Ranks 0 and 1 are one group, 2 and 3 the other."""
    group = [dist.new_group([0, 1]), dist.new_group([2, 3])][rank // 2]
    views = torch.rand(2, 4, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0))[:, rank]
    model, logged = _module(method, gather_distributed=True, process_group=group)
    model.training_step((list(views), None), 0).backward()
    return logged["train_loss"]


@BOTH
def test_a_criterion_of_a_process_group_is_of_its_ranks_batch(method, run_on_ranks):
    views = torch.rand(2, 4, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for rank, got in enumerate(run_on_ranks(_loss_of_a_group, 4, method)):
        model, logged = _module(method)
        model.training_step((list(views[:, rank // 2 * 2 : rank // 2 * 2 + 2].flatten(1, 2)), None), 0)
        assert got == pytest.approx(logged["train_loss"], rel=1e-5, abs=1e-6)


@BOTH
def test_a_batch_in_chunks_trains_as_the_whole(method):
    answers = []
    for chunk_size in (None, 3):
        model, logged = _module(method)
        model.chunk_size = chunk_size
        model.double()
        sizes = []
        model.backbone.register_forward_hook(lambda module, inputs, output, sizes=sizes: sizes.append(len(inputs[0])))
        views = torch.rand(2, 8, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        model.training_step((list(views), None), 0).backward()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        answers.append([torch.tensor(logged["train_loss"]), *(parameter.grad for parameter in trained)])
        assert sorted(set(sizes)) == ([8] if chunk_size is None else [2, 3])
        assert len(sizes) == 2 if chunk_size is None else len(sizes) == 2 * 3 * 2  # each chunk passes twice
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-6, atol=1e-9)


def test_a_wrong_chunk_size_is_named():
    with pytest.raises(ValueError, match="chunk_size must be an int >= 1, got 0"):
        IMSVD(8, 10, backbone=nn.Identity(), chunk_size=0)


class OtherTerms(NamedTuple):
    loss: torch.Tensor
    distance: torch.Tensor


class OtherLoss(nn.Module):
    """As another package may have it: no num_bins, no state, terms of its own."""

    def forward_components(self, z_a, z_b, *more_views):
        distance = (z_a - z_b).square().mean()
        return OtherTerms(distance, distance.detach())


def test_another_packages_head_and_loss_train(loaders, make_trainer):
    head = ProjectionHead([(6, 8, nn.BatchNorm1d(8), nn.ReLU()), (8, 8, None, None)])
    backbone = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = IMSVD(8, 10, backbone=backbone, projection_head=head, criterion=OtherLoss(), warmup_epochs=0)
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, *loaders)
    assert trainer.callback_metrics["train_distance"] > 0


@pytest.mark.parametrize("module", [IMSVD, SSLHSIC])
def test_a_loss_without_terms_is_refused(module):
    with pytest.raises(ValueError, match=r"criterion must have a method forward_components.*got MSELoss"):
        module(8, 10, criterion=nn.MSELoss())
