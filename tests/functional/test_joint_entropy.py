"""The streamed joint distribution: what it costs, and that tiles and circumstances do not change what it gives."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from imsvd_plugins import functional as F
from imsvd_plugins.functional import joint_entropy as module


def logits(num_samples=6, dim=24, seed=0):
    return torch.randn(2, num_samples, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def value_and_gradient(z, num_bins):
    z = z.clone().requires_grad_()
    terms = F.imsvd_loss(z, num_bins, temperature=0.6, diagonal_weight=0.5, off_diagonal_weight=2.0)
    terms.loss.backward()
    return torch.stack(terms).detach(), z.grad


@pytest.mark.parametrize("num_bins", [2, 6, 12, 24])
@pytest.mark.parametrize("rows", [1, 2, 5, 7, 11, 12, 13, 24, 100])
def test_tiles_of_any_size_give_the_same(monkeypatch, num_bins, rows):
    """Whole variables, several or one, and parts of a variable, with a remainder or without."""
    z = logits()
    expected = value_and_gradient(z, num_bins)
    monkeypatch.setattr(module, "_MIN_TILE_BYTES", 0)
    monkeypatch.setattr(module, "MAX_TILE_BYTES", rows * 24 * 8)
    for got, want in zip(value_and_gradient(z, num_bins), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_nothing_of_the_joint_distributions_size_is_held(monkeypatch):
    """The largest allocation of a pass is a tile or an array of the inputs' size."""
    num_samples, dim = 16, 2048
    monkeypatch.setattr(module, "MAX_TILE_BYTES", 64 * dim * 4)
    z = torch.randn(2, num_samples, dim, requires_grad=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        F.imsvd_loss(z, 64).loss.backward()
    allocations = [event.self_cpu_memory_usage for event in profile.events()]
    assert max(allocations) <= max(64 * dim * 4, 2 * num_samples * dim * 4)


def count_flops(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def test_three_products_with_a_gradient_and_one_without():
    num_samples, dim = 6, 24
    product = 2 * num_samples * dim**2
    z = logits().requires_grad_()

    def step():
        F.imsvd_loss(z, 4).loss.backward()

    assert count_flops(step) == 3 * product
    assert count_flops(lambda: F.imsvd_loss(z.detach(), 4)) == product
    with torch.no_grad():
        assert count_flops(lambda: F.imsvd_loss(z, 4)) == product


def test_a_second_derivative_is_refused():
    z = logits().requires_grad_()
    (gradient,) = torch.autograd.grad(F.imsvd_loss(z, 4).loss, z, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.square().sum().backward()


def test_backward_multiplies_by_what_comes_in():
    z = logits()
    _, gradient = value_and_gradient(z, 4)
    z = z.requires_grad_()
    loss = F.imsvd_loss(z, 4, temperature=0.6, diagonal_weight=0.5, off_diagonal_weight=2.0).loss
    (-3 * loss).backward(retain_graph=True)
    loss.backward()  # accumulates
    torch.testing.assert_close(z.grad, -2 * gradient, rtol=1e-12, atol=0)


def test_one_view_may_be_without_gradient():
    z_a, z_b = logits()
    _, gradient = value_and_gradient(torch.stack([z_a, z_b]), 4)
    z_a.requires_grad_()
    F.imsvd_loss([z_a, z_b], 4, temperature=0.6, diagonal_weight=0.5, off_diagonal_weight=2.0).loss.backward()
    torch.testing.assert_close(z_a.grad, gradient[0])
    assert z_b.grad is None


def test_inside_checkpointing():
    z = logits()
    _, gradient = value_and_gradient(z, 4)
    z = z.requires_grad_()

    def loss(z):
        return F.imsvd_loss(z, 4, temperature=0.6, diagonal_weight=0.5, off_diagonal_weight=2.0).loss

    checkpoint(loss, z, use_reentrant=False).backward()
    torch.testing.assert_close(z.grad, gradient)


def test_views_need_not_be_contiguous():
    z = logits()
    expected = value_and_gradient(z, 4)
    got = value_and_gradient(z.transpose(1, 2).contiguous().transpose(1, 2), 4)
    torch.testing.assert_close(got, expected)


@pytest.mark.slow
def test_inside_compile():
    z = logits().float().requires_grad_()

    def loss(z):
        return F.imsvd_loss(torch.sin(z), 4).loss

    loss(z).backward()
    expected, z.grad = z.grad, None
    torch.compile(loss)(z).backward()
    torch.testing.assert_close(z.grad, expected)
