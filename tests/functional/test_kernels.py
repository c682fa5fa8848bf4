"""Kernels, their spectra and the ascent of their scale."""

import math

import pytest
import torch

from imsvd_plugins import functional as F
from imsvd_plugins.functional import kernels

RADIAL = [kernels.InverseMultiquadricKernel(), kernels.GaussianKernel(), kernels.LaplacianKernel()]
FORMULAS = {
    "InverseMultiquadricKernel": lambda r, c: c / math.sqrt(r**2 + c**2),
    "GaussianKernel": lambda r, c: math.exp(-(r**2) / (2 * c**2)),
    "LaplacianKernel": lambda r, c: math.exp(-r / c),
}


def name_of(kernel):
    return type(kernel).__name__


@pytest.mark.parametrize("kernel", RADIAL, ids=name_of)
@pytest.mark.parametrize("distance", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_value_at_a_distance(kernel, distance, scale):
    x = torch.zeros(1, 3, dtype=torch.float64)
    y = torch.tensor([[0.0, distance, 0.0]], dtype=torch.float64)
    assert kernel.gram(x, y, scale).item() == pytest.approx(FORMULAS[name_of(kernel)](distance, scale), rel=1e-9)


def test_linear_kernel_is_the_inner_product():
    x, y = torch.randn(2, 3, 4)
    torch.testing.assert_close(kernels.LinearKernel().gram(x, y, 5.0), x @ y.T)


@pytest.mark.parametrize("kernel", RADIAL, ids=name_of)
@pytest.mark.parametrize("dim", [3, 256])
@pytest.mark.parametrize("scale", [0.5, 1.5])
@pytest.mark.parametrize("features", ["rff", "orf"])
def test_random_features_are_unbiased(kernel, dim, scale, features):
    """The mean over many draws lies within its own standard error of the kernel, at several distances."""
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(6, dim, generator=generator), dim=-1)
    estimates = []
    for _ in range(200):
        phi = F.sample_random_features(kernel, 256, dim, features=features, generator=generator)(x, scale)
        estimates.append(phi @ phi.T)
    estimates = torch.stack(estimates).double()
    standard_error = estimates.std(dim=0) / math.sqrt(len(estimates))
    # 1e-6 is float32's: of pairs of cosine and sine the diagonal has no variance.
    exact = kernel.gram(x.double(), x.double(), scale)
    assert ((estimates.mean(dim=0) - exact).abs() < 4.5 * standard_error + 1e-6).all()


@pytest.mark.parametrize(
    ("kernel", "gain"), [(kernels.InverseMultiquadricKernel(), 2.5), (kernels.GaussianKernel(), 3.5)]
)
def test_orthogonal_features_have_lower_variance(kernel, gain):
    """Mean squared error of the kernel of unit vectors, d = 256 and F = 512."""
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(40, 256, generator=generator), dim=-1)
    exact = kernel.gram(x, x, 1.0)
    error = {}
    for features in ("rff", "orf"):
        errors = []
        for _ in range(60):
            phi = F.sample_random_features(kernel, 512, 256, features=features, generator=generator)(x)
            errors.append((phi @ phi.T - exact)[~torch.eye(40, dtype=torch.bool)].square().mean())
        error[features] = torch.stack(errors).mean().item()
    assert error["rff"] / error["orf"] >= gain


def test_orthogonal_features_of_a_kernel_that_only_has_a_spectrum():
    """Another package's radial kernel: the lengths are its own, the directions orthogonal."""

    class Own(kernels.RadialKernel):
        evaluate = kernels.GaussianKernel.evaluate
        sample_frequencies = kernels.GaussianKernel.sample_frequencies
        row_scale = kernels.GaussianKernel.row_scale

    draw = F.sample_random_features(Own(), 16, 8, features="orf", generator=torch.Generator().manual_seed(0))
    assert draw.phase is None
    directions = torch.nn.functional.normalize(draw.weight, dim=1)
    torch.testing.assert_close(directions @ directions.T, torch.eye(8))


def test_pairs_of_cosine_and_sine_have_length_one():
    draw = F.sample_random_features(RADIAL[0], 24, 5, features="orf")
    phi = draw(torch.randn(7, 5))
    assert phi.shape == (7, 24)
    torch.testing.assert_close(phi.square().sum(dim=1), torch.ones(7))


@pytest.mark.parametrize("kernel", RADIAL, ids=name_of)
def test_scale_ascent_is_the_gradient_of_its_objective(kernel):
    squared_distance = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    scale = torch.tensor(0.8, dtype=torch.float64)

    def objective(c):
        r2 = squared_distance.clone().requires_grad_()
        (slope,) = torch.autograd.grad(kernel.evaluate(r2, c).sum(), r2)
        return slope.abs().log().mean()

    step = 1e-5
    expected = (objective(scale + step) - objective(scale - step)) / (2 * step)
    assert kernel.scale_ascent(squared_distance, scale).item() == pytest.approx(expected.item(), rel=1e-6)
    by_autograd = kernels.RadialKernel.scale_ascent(kernel, squared_distance, scale)
    assert by_autograd.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("kernel", RADIAL, ids=name_of)
def test_finite_where_all_vectors_are_equal(kernel):
    x = torch.ones(4, 3).requires_grad_()
    kernel.gram(x, x, 1.0).sum().backward()
    assert x.grad.isfinite().all()
    assert kernel.scale_ascent(torch.zeros(6), torch.tensor(1.0)).isfinite()


def test_what_a_kernel_can_do():
    assert [kernel.has_spectrum and kernel.has_scale for kernel in RADIAL] == [True] * 3
    linear = kernels.LinearKernel()
    assert not linear.has_spectrum
    assert not linear.has_scale
    with pytest.raises(NotImplementedError, match="LinearKernel has no spectrum"):
        linear.sample_frequencies(1, 1)
    with pytest.raises(NotImplementedError, match="LinearKernel has no scale"):
        linear.scale_ascent(torch.ones(1), torch.tensor(1.0))


def test_a_generator_decides_the_draw():
    first, again, other = (
        F.sample_random_features(RADIAL[0], 8, 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.phase, again.phase)
    assert not torch.equal(first.weight, other.weight)


@pytest.mark.parametrize(
    ("words", "kernel", "num_features", "features"),
    [
        (["features", "'rff', 'orf'", "'orff'"], RADIAL[0], 8, "orff"),
        (["num_features", "even", "7"], RADIAL[0], 7, "orf"),
        (["num_features", ">= 1", "0"], RADIAL[0], 0, "rff"),
        (["kernel", "LinearKernel", "no spectrum"], kernels.LinearKernel(), 8, "rff"),
    ],
)
def test_wrong_input_is_named(words, kernel, num_features, features):
    with pytest.raises(ValueError, match=r"got|no spectrum") as caught:
        F.sample_random_features(kernel, num_features, 3, features=features)
    assert all(word in str(caught.value) for word in words), caught.value
