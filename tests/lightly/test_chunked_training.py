"""A LightningModule's training in chunks: on ranks, with averaged weights, in mixed precision."""

import copy

import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from imsvd_plugins.lightly import (
    IMSVD,
    SSLHSIC,
    HSICLoss,
    HSICPredictionHead,
    HSICProjectionHead,
    IMSVDLoss,
    IMSVDProjectionHead,
)

BOTH = pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
# Batch normalisation stays as it is on purpose, where a batch in chunks is compared with the whole.
pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training")
CHUNK = 4


class Step(nn.Module):
    """A training step as a module's forward, which is what DistributedDataParallel wraps."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, views):
        return self.model.training_step((views, None), 0)


def _module(method):
    """With batch normalisation everywhere."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    settings = {"backbone": backbone, "optimizer": torch.optim.SGD, "chunk_size": CHUNK}
    if method == "imsvd":
        criterion = IMSVDLoss(4, gather_distributed=True)
        model = IMSVD(None, None, projection_head=IMSVDProjectionHead(6, 8, 16), criterion=criterion, **settings)
    else:
        heads = {"projection_head": HSICProjectionHead(6, 8, 5), "prediction_head": HSICPredictionHead(5, 8, 5)}
        model = SSLHSIC(None, None, criterion=HSICLoss(num_features=32, gather_distributed=True), **heads, **settings)
        # Else it could be taken for the online network.
        nn.init.normal_(model.target_backbone[0].weight)
    model.log = model.log_dict = lambda *args, **kwargs: None
    return model.double()


def _views():
    return torch.rand(2, 4 * CHUNK, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _answer(model, loss):
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return loss.detach(), gradients, dict(model.named_buffers())


def _step_of_rank(rank, method, ranks):
    model = _module(method)
    parallel = DistributedDataParallel(Step(model))  # which must live until the backward pass is done
    return _answer(model, parallel(list(_views().chunk(ranks, dim=1)[rank])))


@BOTH
def test_the_chunks_of_two_ranks_are_those_of_one(method, run_on_ranks):
    model = _module(method)
    before = copy.deepcopy(dict(model.named_buffers()))
    loss, gradients, buffers = _answer(model, Step(model)(list(_views())))
    moved = {name.partition(".")[0] for name, buffer in buffers.items() if not torch.equal(buffer, before[name])}
    targets = {"target_backbone", "target_projection_head", "prediction_head"} if method == "ssl_hsic" else set()
    assert moved - {"criterion"} == {"backbone", "projection_head", *targets}
    assert (gradients["backbone.0.weight"].abs() > 0).any()
    ranks = run_on_ranks(_step_of_rank, 2, method, 2)
    for of_rank in ranks:
        torch.testing.assert_close(of_rank[0], loss, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(of_rank[1], gradients, rtol=1e-9, atol=1e-12)
    for name, buffer in buffers.items():
        if "learned_scale" in name:  # Each rank climbs by the pairs among its own vectors.
            continue
        mean = torch.stack([of_rank[2][name] for of_rank in ranks]).double().mean(dim=0)
        torch.testing.assert_close(buffer.double(), mean, rtol=1e-10, atol=1e-12)


@pytest.fixture
def trained(small_model, loaders, make_trainer):
    """Trains in chunks of some size, with batch normalisation in evaluation mode; returns the weights before and after.

    Then it does not depend on what is computed together.
    """

    def train(method, chunk_size, **settings):
        model = small_model(method).eval()
        model.chunk_size = chunk_size
        before = copy.deepcopy(model.state_dict())
        make_trainer(max_epochs=2, **settings).fit(model, *loaders)
        after = model.state_dict()
        assert torch.equal(after["backbone.1.running_mean"], before["backbone.1.running_mean"])
        return before, after

    return train


@BOTH
def test_averaged_weights_are_those_of_the_whole_batch(method, trained):
    averages = []
    for chunk_size in (None, 3):
        averaging = EMAWeightAveraging(decay=0.5, update_every_n_steps=1)
        before, after = trained(method, chunk_size, callbacks=[averaging])
        assert not torch.equal(after["backbone.0.weight"], before["backbone.0.weight"])
        averages.append(after)
    torch.testing.assert_close(averages[1], averages[0], rtol=1e-4, atol=1e-6)
    _, last = trained(method, 3)
    assert not torch.allclose(last["backbone.0.weight"], averages[1]["backbone.0.weight"], rtol=1e-4)


@BOTH
def test_mixed_precision_trains_as_the_whole_batch(method, trained):
    (before, whole), (_, chunked) = (trained(method, chunk_size, precision="bf16-mixed") for chunk_size in (None, 3))
    for name in ("backbone.0.weight", "projection_head.layers.0.weight"):
        moved = whole[name] - before[name]
        assert moved.norm() > 0
        # bfloat16 rounds to 8 bits.
        assert (chunked[name] - whole[name]).norm() < 0.05 * moved.norm()
