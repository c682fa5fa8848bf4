"""The losses inside torch.utils.checkpoint: the second run of a forward must be the first again."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.losses.recomputation import MAX_FORWARDS, Used

REENTRANT = [True, False]
LOSSES = {
    "imsvd": lambda: IMSVDLoss(num_bins=4),
    "imq": lambda: HSICLoss(num_features=16),
    "orf": lambda: HSICLoss("laplacian", num_features=16, features="orf"),
    "linear": lambda: HSICLoss("linear"),
}


class Model(nn.Module):
    """A projector with dropout, and the loss behind it."""

    def __init__(self, criterion):
        super().__init__()
        self.projector = nn.Linear(8, 8, dtype=torch.float64)
        self.criterion = criterion

    def forward(self, views):
        # Squared, so that the value of the second run matters, not its gradient alone.
        return self.criterion(*nn.functional.dropout(self.projector(views), 0.2)).square()


def make_model(make):
    torch.manual_seed(0)
    return Model(make())


def run(model, batches, weights, reentrant=None, **options):
    """Several forwards, one backward; the gradient, and what has become of the loss."""
    total = 0.0
    for batch, weight in zip(batches, weights, strict=True):
        views = batch.clone().requires_grad_()  # a reentrant checkpoint needs an input with a gradient
        loss = model(views) if reentrant is None else checkpoint(model, views, use_reentrant=reentrant, **options)
        total = total + weight * loss
    total.backward()
    return total.detach(), model.projector.weight.grad, copy.deepcopy(model.criterion.state_dict())


def batches(number):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 12, 8, generator=generator, dtype=torch.float64) for _ in range(number)]


@pytest.mark.parametrize("reentrant", REENTRANT)
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_value_gradient_and_state_are_those_without_checkpointing(make, number, reentrant):
    weights = [1.0, -2.0, 0.5][:number]
    expected = run(make_model(make), batches(number), weights)
    got = run(make_model(make), batches(number), weights, reentrant)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("reentrant", REENTRANT)
def test_forwards_of_equal_inputs_are_told_apart(reentrant):
    """Three draws for one batch, each of another weight."""
    same = batches(1) * 3
    expected, got = (run(make_model(LOSSES["imq"]), same, [1.0, 2.0, 4.0], mode) for mode in (None, reentrant))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("reentrant", REENTRANT)
def test_a_checkpoint_inside_a_checkpoint(reentrant):
    def run_nested(mode):
        model = make_model(LOSSES["imq"])
        views = batches(1)[0].requires_grad_()
        if mode is None:
            loss = model(views)
        else:
            loss = checkpoint(lambda x: checkpoint(model, x, use_reentrant=False), views, use_reentrant=mode)
        loss.backward()
        return loss.detach(), views.grad, model.criterion.state_dict()

    torch.testing.assert_close(run_nested(reentrant), run_nested(None), rtol=1e-12, atol=0)


def test_twice_through_one_graph():
    """Each backward pass repeats the forward, and the third step goes on as without."""

    def run_twice(mode):
        model = make_model(LOSSES["imq"])
        views = batches(1)[0].requires_grad_()
        loss = model(views) if mode is None else checkpoint(model, views, use_reentrant=mode)
        loss.backward(retain_graph=True)
        loss.backward()
        return views.grad, model(views).detach(), model.criterion.state_dict()

    torch.testing.assert_close(run_twice(False), run_twice(None), rtol=1e-12, atol=0)


@pytest.mark.parametrize("reentrant", REENTRANT)
def test_evaluation_mode_keeps_the_state_of_its_forward(reentrant):
    """The scale moves between an evaluated forward and its backward pass."""

    def run_evaluated(mode):
        model = make_model(LOSSES["imq"])
        first, second = batches(2)
        first.requires_grad_()
        model.criterion.eval()
        loss = model(first) if mode is None else checkpoint(model, first, use_reentrant=mode)
        model.criterion.train()(*second)
        loss.backward()
        return first.grad

    torch.testing.assert_close(run_evaluated(reentrant), run_evaluated(None), rtol=1e-12, atol=0)


@pytest.mark.parametrize("reentrant", REENTRANT)
def test_without_the_random_state_it_is_an_error_not_a_wrong_number(reentrant):
    with pytest.raises(RuntimeError, match="preserve_rng_state=True"):
        run(make_model(LOSSES["imq"]), batches(1), [1.0], reentrant, preserve_rng_state=False)


def test_forwards_of_one_random_state_are_an_error_not_a_wrong_number():
    criterion, total = HSICLoss(num_features=16), 0.0
    for views in batches(2):
        torch.manual_seed(0)
        total = total + checkpoint(criterion, *views.requires_grad_(), use_reentrant=False)
    with pytest.raises(RuntimeError, match="another random state at each forward"):
        total.backward()


def test_what_is_remembered_is_bounded_and_not_copied():
    criterion = HSICLoss(num_features=1)
    views = batches(1)[0]
    for _ in range(MAX_FORWARDS + 5):
        criterion._forwards.begin(Used(criterion._draws, criterion.scale))
    criterion(*views)
    assert len(criterion._forwards._used) == MAX_FORWARDS
    assert not copy.deepcopy(criterion)._forwards._used
    criterion.load_state_dict(HSICLoss().state_dict())
    assert not criterion._forwards._used
