"""A batch in chunks trains as the whole batch, or as ranks without SyncBatchNorm, in the memory of a chunk."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.training.chunks import in_chunks

RANKS, SHARE = 4, 5  # samples of a rank, or a chunk


def make_network(batch_norm, dropout=0.0):
    torch.manual_seed(0)
    norm = [nn.BatchNorm1d(8)] if batch_norm else [nn.LayerNorm(8)]
    return nn.Sequential(nn.Linear(6, 8), *norm, nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 12)).double()


def views():
    return torch.randn(2, RANKS * SHARE, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


LOSSES = {"imsvd": lambda **ranks: IMSVDLoss(3, **ranks), "hsic": lambda **ranks: HSICLoss(num_features=8, **ranks)}
BOTH = pytest.mark.parametrize("loss", LOSSES)


def step(network, criterion, chunk_size, batch):
    """The loss, gradients and buffers after one step's backward pass."""
    modules = (network,)
    loss = criterion(*(in_chunks(network, view, chunk_size, modules) for view in batch))
    loss.backward()
    return [loss.detach()], [parameter.grad for parameter in network.parameters()], list(network.buffers())


@BOTH
@pytest.mark.parametrize("chunk_size", [1, 3, 5, 20, 64])
def test_without_batch_normalisation_it_is_the_whole_batch(loss, chunk_size):
    whole = step(make_network(False), LOSSES[loss](), None, views())
    chunked = step(make_network(False), LOSSES[loss](), chunk_size, views())
    torch.testing.assert_close(chunked, whole, rtol=1e-10, atol=1e-12)


class EachView(nn.Module):
    """One forward for all views: DistributedDataParallel copies rank 0's buffers before each."""

    def __init__(self, network, chunk_size):
        super().__init__()
        self.network = network
        self.chunk_size = chunk_size

    def forward(self, views):
        return [in_chunks(self.network, view, self.chunk_size, (self.network,)) for view in views]


def _step_of_rank(rank, loss, ranks, chunk_size):
    network = make_network(True)
    criterion = LOSSES[loss](gather_distributed=True)
    share = views().chunk(ranks, dim=1)[rank]
    model = DistributedDataParallel(EachView(network, chunk_size))
    value = criterion(*model(share))
    value.backward()
    return [value.detach()], [p.grad for p in network.parameters()], list(network.buffers())


@BOTH
@pytest.mark.parametrize(("ranks", "chunk_size"), [(RANKS, None), (RANKS // 2, SHARE)])
def test_with_batch_normalisation_it_is_as_many_ranks_which_may_have_chunks_too(loss, ranks, chunk_size, run_on_ranks):
    losses, gradients, buffers = step(make_network(True), LOSSES[loss](), SHARE, views())
    ranks = run_on_ranks(_step_of_rank, ranks, loss, ranks, chunk_size)
    for of_rank in ranks:
        torch.testing.assert_close(of_rank[0], losses, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(of_rank[1], gradients, rtol=1e-10, atol=1e-12)
    for index, buffer in enumerate(buffers):
        mean = torch.stack([of_rank[2][index] for of_rank in ranks]).double().mean(dim=0)
        torch.testing.assert_close(buffer.double(), mean, rtol=1e-10, atol=1e-12)


@BOTH
def test_dropout_is_the_same_in_both_passes(loss):
    """Else the gradient would not be the loss's: compared with finite differences, whose every forward drops alike."""
    network, criterion, batch = make_network(False, dropout=0.5), LOSSES[loss]().eval(), views()

    def value():
        torch.manual_seed(3)
        return criterion(*(in_chunks(network, view, SHARE, (network,)) for view in batch))

    value().backward()
    weight = network[0].weight
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    slope = (weight.grad * direction).sum()
    with torch.no_grad():
        weight += 1e-6 * direction
        ahead = value()
        weight -= 2e-6 * direction
        behind = value()
    assert ((ahead - behind) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-5)


@BOTH
def test_under_autocast_both_passes_are_in_its_dtype(loss):
    answers = []
    for chunk_size in (None, SHARE):
        network, dtypes = make_network(False).float(), []
        # The last layer needs no second pass.
        network[0].register_forward_hook(lambda module, inputs, output, dtypes=dtypes: dtypes.append(output.dtype))
        with torch.autocast("cpu", torch.bfloat16):
            value = LOSSES[loss]()(*(in_chunks(network, view, chunk_size, (network,)) for view in views().float()))
        value.backward()
        assert set(dtypes) == {torch.bfloat16}
        assert len(dtypes) == (2 if chunk_size is None else 2 * 2 * RANKS)
        assert value.dtype == torch.float32
        answers.append([value.detach(), *(parameter.grad for parameter in network.parameters())])
    # bfloat16 has 8 bits, and the weights' gradients are summed over other groups of samples.
    scale = max(gradient.abs().max() for gradient in answers[0][1:])
    torch.testing.assert_close(answers[1], answers[0], rtol=2**-6, atol=2**-8 * float(scale))


def test_the_backward_pass_leaves_buffers_alone_and_no_gradient_means_no_second_pass():
    network = make_network(True)
    passes = []
    network[0].register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    z = in_chunks(network, views()[0], SHARE, (network,))
    after_forward = copy.deepcopy(network.state_dict())
    z.square().sum().backward()
    torch.testing.assert_close(network.state_dict(), after_forward, rtol=0, atol=0)
    assert len(passes) == 2 * RANKS
    assert network[1].num_batches_tracked == 1
    with torch.no_grad():
        in_chunks(network, views()[0], SHARE, (network,))
    assert len(passes) == 3 * RANKS


def test_in_evaluation_mode_nothing_moves():
    network = make_network(True).eval()
    before = copy.deepcopy(network.state_dict())
    z = in_chunks(network, views()[0], SHARE, (network,))
    torch.testing.assert_close(z, network(views()[0]))
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_a_constant_buffer_stays_what_it_is():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("factor", torch.rand(6, dtype=torch.float64))
            self.register_buffer("mask", torch.tensor([0, 0, 0, 0, 0, -torch.inf]))

        def forward(self, x):
            return (x * self.factor + self.mask).exp()

    network = Scaled()
    before = copy.deepcopy(network.state_dict())
    gradients = []
    for chunk_size in (None, SHARE, 3):
        x = views()[0].requires_grad_()
        in_chunks(network, x, chunk_size, (network,)).square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1:], gradients[:1] * 2)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_several_outputs_are_each_whole():
    network = make_network(False)
    first, second = in_chunks(lambda x: (x, network(x)), views()[0], SHARE, (network,))
    torch.testing.assert_close(first, views()[0])
    torch.testing.assert_close(second, network(views()[0]))
