"""The SSL-HSIC objective against its definition, the reference values and its limits."""

import math

import pytest
import torch
import torch.distributed as dist

from imsvd_plugins import functional as F
from imsvd_plugins.functional.kernels import (
    GaussianKernel,
    InverseMultiquadricKernel,
    LinearKernel,
    RadialKernel,
    squared_distances,
)

CASES = ["two_views", "four_views", "three_views_unnormalised"]
KERNEL = InverseMultiquadricKernel()


class GramOnlyKernel(RadialKernel):
    """A kernel without a spectrum, as another package may bring."""

    def evaluate(self, squared_distance, scale):
        return (squared_distance / (-2 * scale**2)).exp()


def unit_vectors(*shape, seed=0, dtype=torch.float64):
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return torch.nn.functional.normalize(z, dim=-1)


def draw(dim, num_features=64, seed=0, kernel=KERNEL, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return F.sample_random_features(kernel, num_features, dim, generator=generator, dtype=dtype)


def relative_error(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def loss_of(z, draws, gather=False, scale=0.8, gamma=2.0):
    return F.ssl_hsic_loss(z, *draws, scale=scale, gamma=gamma, gather_distributed=gather)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("case", CASES)
def test_reference_values(golden, case, dtype, tolerance):
    reference = golden(f"hsic_{case}")
    z = reference["hiddens"].to(dtype).requires_grad_()
    features_zy, features_zz = (
        F.RandomFeatures(reference[f"w_{name}"].to(dtype), reference[f"b_{name}"].to(dtype)) for name in ("xy", "xx")
    )
    scale, gamma = reference["scale"].item(), reference["gamma"].item()
    terms = F.ssl_hsic_loss(z, features_zy, features_zz, scale=scale, gamma=gamma)
    terms.loss.backward()
    assert terms.hsic_zy.item() == pytest.approx(reference["hsic_xy"].item(), rel=tolerance)
    assert terms.hsic_zz.item() == pytest.approx(reference["hsic_xx"].item(), rel=tolerance)
    assert terms.loss.item() == pytest.approx(reference["loss"].item(), rel=tolerance)
    assert relative_error(z.grad, reference["grad_hiddens"]) < tolerance

    distances = squared_distances(*reference["hiddens"][:2]).to(dtype)
    ascent = KERNEL.scale_ascent(distances, torch.tensor(scale, dtype=dtype))
    assert ascent.item() == pytest.approx(reference["grad_norm_d_scale"].item(), rel=tolerance)


def _gathered_case(rank, shards, draws):
    z = shards[rank].clone().requires_grad_()
    terms = loss_of(z, draws, gather=True)
    terms.loss.backward()
    return [term.item() for term in terms], z.grad / dist.get_world_size()


def _gathered_linear_case(rank, shards):
    z = shards[rank].clone().requires_grad_()
    terms = F.ssl_hsic_linear_loss(z, gather_distributed=True)
    terms.loss.backward()
    return [term.item() for term in terms], z.grad / dist.get_world_size()


def _gathered_gram_case(rank, shards):
    z = shards[rank].clone().requires_grad_()
    terms = F.ssl_hsic_gram_loss(z, GaussianKernel(), scale=0.7, gather_distributed=True)
    terms.loss.backward()
    return [term.item() for term in terms], z.grad / dist.get_world_size()


def assert_equals_one_process(answers, whole, expected):
    expected.loss.backward()
    for terms, _ in answers:
        assert terms == pytest.approx([term.item() for term in expected], rel=1e-12)
    assert relative_error(torch.cat([gradient for _, gradient in answers], dim=1), whole.grad) < 1e-11


@pytest.mark.parametrize("sizes", [(9,), (5, 5), (4, 4, 4), (2, 7), (1, 3, 5)])
def test_ranks_with_different_data_equal_one_process(run_on_ranks, sizes):
    shards = [unit_vectors(3, n, 6, seed=n) for n in sizes]
    draws = draw(6, seed=1), draw(6, seed=2)
    whole = torch.cat(shards, dim=1).requires_grad_()
    assert_equals_one_process(run_on_ranks(_gathered_case, len(sizes), shards, draws), whole, loss_of(whole, draws))


@pytest.mark.parametrize("sizes", [(5, 5), (1, 3, 5)])
def test_linear_kernel_on_ranks_equals_one_process(run_on_ranks, sizes):
    shards = [unit_vectors(2, n, 6, seed=n) for n in sizes]
    whole = torch.cat(shards, dim=1).requires_grad_()
    answers = run_on_ranks(_gathered_linear_case, len(sizes), shards)
    assert_equals_one_process(answers, whole, F.ssl_hsic_linear_loss(whole))


@pytest.mark.parametrize("world_size", [2, 3])
def test_gram_matrix_on_ranks_equals_one_process(run_on_ranks, world_size):
    shards = [unit_vectors(3, 4, 6, seed=rank) for rank in range(world_size)]
    whole = torch.cat(shards, dim=1).requires_grad_()
    answers = run_on_ranks(_gathered_gram_case, world_size, shards)
    assert_equals_one_process(answers, whole, F.ssl_hsic_gram_loss(whole, GaussianKernel(), scale=0.7))


def _uneven_gram_case(rank):
    try:
        F.ssl_hsic_gram_loss(unit_vectors(2, 3 + rank, 4), GaussianKernel(), gather_distributed=True)
    except ValueError as error:
        return str(error)
    return "no error"


def test_gathering_uneven_batches_is_refused_on_all_ranks(run_on_ranks):
    for message in run_on_ranks(_uneven_gram_case, 2):
        assert "z_views" in message
        assert "[3, 4]" in message


def test_exact_estimators_by_their_definition():
    z = unit_vectors(3, 5, 4)
    V, N = z.shape[:2]
    K = KERNEL.gram(z.flatten(0, 1), z.flatten(0, 1), 0.7)
    image = torch.arange(N).repeat(V)
    same_image = (image[:, None] == image[None, :]).double()
    assert F.hsic_exact_zy(z, KERNEL, 0.7).item() == pytest.approx(
        ((K * same_image).sum() / (N * V * (V - 1)) - K.mean()).item(), rel=1e-12
    )
    H = torch.eye(V * N, dtype=torch.float64) - 1 / (V * N)
    assert F.hsic_exact_zz(z, KERNEL, 0.7).item() == pytest.approx(
        ((H @ K @ H).square().sum() / (V * N) ** 2).item(), rel=1e-12
    )


@pytest.mark.parametrize("kernel", [InverseMultiquadricKernel(), GaussianKernel()])
def test_random_features_estimate_the_exact_terms(kernel):
    z = unit_vectors(2, 24, 8)
    draws = [[draw(8, 1000, seed + pair, kernel) for seed in (0, 100)] for pair in range(8)]
    terms = [F.ssl_hsic_loss(z, *pair, scale=0.8) for pair in draws]
    mean_zy = sum(term.hsic_zy.item() for term in terms) / len(terms)
    mean_zz = sum(term.hsic_zz.item() for term in terms) / len(terms)
    assert mean_zy == pytest.approx(F.hsic_exact_zy(z, kernel, 0.8).item(), rel=0.03)
    assert mean_zz == pytest.approx(F.hsic_exact_zz(z, kernel, 0.8).item(), rel=0.1)


def test_one_draw_must_serve_all_views():
    """With a draw of its own for each view the features no longer approximate the kernel."""
    z = unit_vectors(2, 24, 8)
    exact = F.hsic_exact_zy(z, KERNEL, 0.8).item()

    def estimate(first, second):
        phi = torch.stack([first(z[0], 0.8), second(z[1], 0.8)])
        per_sample = phi.sum(0)
        return (per_sample.square().sum() / 48 - phi.sum((0, 1)).square().sum() / 48**2).item()

    one, other = draw(8, 3_000, 3), draw(8, 3_000, 4)
    assert estimate(one, one) == pytest.approx(exact, rel=0.05)
    assert estimate(one, other) != pytest.approx(exact, rel=0.2)


def test_linear_and_gram_forms_agree():
    z = unit_vectors(3, 6, 5)
    linear, gram = z.clone().requires_grad_(), z.clone().requires_grad_()
    ours, exact = F.ssl_hsic_linear_loss(linear), F.ssl_hsic_gram_loss(gram, LinearKernel())
    torch.testing.assert_close(torch.stack(ours), torch.stack(exact))
    ours.loss.backward()
    exact.loss.backward()
    torch.testing.assert_close(linear.grad, gram.grad)


@pytest.mark.parametrize("num_views", [2, 3, 4])
def test_collapse_reads_one_over_v_minus_one(num_views):
    """The terms' printed meaning: a collapsed representation has HSIC(Z, Z) = 0 and HSIC(Z, Y) at its offset."""
    z = unit_vectors(1, 1, 4).expand(num_views, 10, 4)
    assert F.hsic_exact_zz(z, KERNEL, 1.0).item() == pytest.approx(0, abs=1e-12)
    assert F.hsic_exact_zy(z, KERNEL, 1.0).item() == pytest.approx(1 / (num_views - 1), rel=1e-12)


def test_invariant_to_the_order_of_samples_and_views():
    z = unit_vectors(3, 7, 5)
    draws = draw(5, seed=1), draw(5, seed=2)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss_of(z, draws).loss, loss_of(z[:, order].flip(0), draws).loss)


def test_gradient_by_finite_differences():
    draws = draw(4, 16, seed=1), draw(4, 16, seed=2)
    assert torch.autograd.gradcheck(lambda z: loss_of(z, draws).loss, unit_vectors(3, 4, 4).requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("autocast", [None, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["huge", "one_hot", "constant", "zero"])
def test_finite_in_every_precision(dtype, autocast, kind):
    generator = torch.Generator().manual_seed(0)
    z = {
        "huge": torch.randn(2, 12, 8, generator=generator).sign() * 1e4,
        "one_hot": torch.eye(8).repeat(3, 1).view(2, 12, 8),
        "constant": torch.full((2, 12, 8), 3.0),
        "zero": torch.zeros(2, 12, 8),
    }[kind]
    z = z.to(dtype).requires_grad_()
    draws = draw(8, seed=1, dtype=torch.float32), draw(8, seed=2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        terms = loss_of(z, draws)
    terms.loss.backward()
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms)
    assert z.grad.isfinite().all()


def test_only_the_loss_carries_a_gradient():
    scale = torch.tensor(1.0, requires_grad=True)
    terms = F.ssl_hsic_loss(unit_vectors(2, 4, 4).requires_grad_(), draw(4), draw(4, seed=1), scale=scale)
    assert [term.requires_grad for term in terms] == [True, False, False, False]


VIEW = torch.zeros(4, 8)
DRAWS = draw(8, dtype=torch.float32), draw(8, seed=1, dtype=torch.float32)


@pytest.mark.parametrize(
    ("error", "words", "views", "kwargs"),
    [
        (ValueError, ["at least two views", "got 1"], [VIEW], {}),
        (ValueError, ["one shape", "(4, 8)", "(3, 8)"], [VIEW, VIEW[:3]], {}),
        (ValueError, ["N >= 2", "N = 1"], [VIEW[:1]] * 2, {}),
        (TypeError, ["z_views[0]", "floating", "int64"], [VIEW.long()] * 2, {}),
        (ValueError, ["gamma", ">= 0", "-1"], [VIEW] * 2, {"gamma": -1.0}),
        (TypeError, ["gamma", "'3'"], [VIEW] * 2, {"gamma": "3"}),
        (ValueError, ["scale", "> 0", "0"], [VIEW] * 2, {"scale": 0.0}),
        (ValueError, ["features_zy", "d = 8", "4"], [VIEW] * 2, {"features_zy": draw(4)}),
        (ValueError, ["features_zz", "d = 8", "4"], [VIEW] * 2, {"features_zz": draw(4)}),
    ],
)
def test_wrong_input_is_named(error, words, views, kwargs):
    kwargs = {"features_zy": DRAWS[0], "features_zz": DRAWS[1], **kwargs}
    with pytest.raises(error) as caught:
        F.ssl_hsic_loss(views, **kwargs)
    assert all(word in str(caught.value) for word in words), caught.value


def test_gathering_needs_torch_distributed(monkeypatch):
    monkeypatch.setattr(dist, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"gather_distributed=True needs torch\.distributed"):
        F.ssl_hsic_loss([VIEW] * 2, *DRAWS, gather_distributed=True)


def test_value_at_best_by_hand():
    """Two images whose views agree, at right angles: every kernel value is known, and with it every term."""
    z = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    k = math.exp(-1)  # Gaussian of scale 1 at r^2 = 2
    assert F.hsic_exact_zy(z, GaussianKernel(), 1.0).item() == pytest.approx(2 - (1 + k) / 2, rel=1e-12)
    assert F.hsic_exact_zz(z, GaussianKernel(), 1.0).item() == pytest.approx(((1 - k) / 2) ** 2, rel=1e-12)
