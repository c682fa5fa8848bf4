"""The IMSVD objective against its definition, the reference values and its limits."""

import itertools
import math

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from imsvd_plugins import functional as F

CASES = ["cifar_like", "hot", "no_off", "weighted"]


def plain_imsvd(z_a, z_b, num_bins, temperature=1.0, weights=(1.0, 1.0, 1.0)):
    """The definition, block by block."""
    N, D = z_a.shape
    M = D // num_bins
    p_a, p_b = ((z.view(N, M, num_bins) / temperature).softmax(-1).clamp(min=1e-8) for z in (z_a, z_b))
    joint = torch.einsum("nik,njl->ijkl", p_a, p_b) / N
    entropies = (joint * joint.log()).sum(dim=(2, 3))
    same = torch.stack([torch.diagonal(joint[m, m]) for m in range(M)])
    diagonal = (same * same.log()).sum() / M
    off_diagonal = (entropies.sum() - entropies.trace()) / (M * (M - 1)) if M > 1 else torch.zeros(())
    invariance = -(p_a * p_b).sum(-1).log().mean()
    w_dia, w_off, w_inv = weights
    return w_dia * diagonal + w_off * off_diagonal + w_inv * invariance, diagonal, off_diagonal, invariance


def settings_of(reference):
    return {
        "num_bins": int(reference["num_bins"]),
        "temperature": float(reference["temperature"]),
        "diagonal_weight": float(reference["dia_coeff"]),
        "off_diagonal_weight": float(reference["off_coeff"]),
        "invariance_weight": float(reference["ti_coeff"]),
    }


def relative_error(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def assert_reference_terms(terms, reference, tolerance):
    weighted = {
        "dia": terms.diagonal * reference["dia_coeff"],
        "off": terms.off_diagonal * reference["off_coeff"],
        "ti": terms.invariance * reference["ti_coeff"],
        "loss": terms.loss,
    }
    for key, value in weighted.items():
        assert value.item() == pytest.approx(reference[key].item(), rel=tolerance, abs=tolerance), key


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("case", CASES)
def test_reference_values(golden, case, dtype, tolerance):
    reference = golden(f"imsvd_{case}_w1_r0")
    z_a, z_b = (reference[key].to(dtype).requires_grad_() for key in ("z1", "z2"))
    terms = F.imsvd_loss([z_a, z_b], **settings_of(reference))
    terms.loss.backward()
    assert terms.loss.dtype == dtype
    assert_reference_terms(terms, reference, tolerance)
    assert relative_error(z_a.grad, reference["grad_z1"]) < tolerance
    assert relative_error(z_b.grad, reference["grad_z2"]) < tolerance


def _gathered_case(rank, shards, kwargs, dtype):
    z_a, z_b = (z.to(dtype).requires_grad_() for z in shards[rank])
    terms = F.imsvd_loss([z_a, z_b], gather_distributed=True, **kwargs)
    terms.loss.backward()
    return [term.item() for term in terms], z_a.grad / dist.get_world_size(), z_b.grad / dist.get_world_size()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("case", CASES)
def test_reference_values_on_two_ranks(golden, run_on_ranks, case, dtype, tolerance):
    references = [golden(f"imsvd_{case}_w2_r{rank}") for rank in range(2)]
    whole = golden(f"imsvd_{case}_w1_r0")
    shards = [(reference["z1"], reference["z2"]) for reference in references]
    answers = run_on_ranks(_gathered_case, 2, shards, settings_of(whole), dtype)
    # The reference's loss is the local one; ours is the global one on every rank, so their means agree.
    mean_loss = sum(reference["loss"].item() for reference in references) / 2
    for (terms, grad_a, grad_b), reference in zip(answers, references, strict=True):
        assert_reference_terms(F.IMSVDTerms(*torch.tensor(terms, dtype=torch.float64)), whole, tolerance)
        assert terms[0] == pytest.approx(mean_loss, rel=tolerance)
        assert relative_error(grad_a, reference["grad_z1"] / 2) < tolerance
        assert relative_error(grad_b, reference["grad_z2"] / 2) < tolerance


@pytest.mark.parametrize("sizes", [(9,), (5, 5), (4, 4, 4), (2, 7), (1, 3, 5), (3, 2, 2, 2)])
@pytest.mark.parametrize("num_variables", [1, 2, 7])
def test_ranks_with_different_data_equal_one_process(run_on_ranks, sizes, num_variables):
    generator = torch.Generator().manual_seed(0)
    shards = [torch.randn(2, n, 4 * num_variables, generator=generator, dtype=torch.float64) for n in sizes]
    whole = torch.cat(shards, dim=1).requires_grad_()
    expected = F.imsvd_loss(whole, num_bins=4, temperature=0.5)
    expected.loss.backward()
    answers = run_on_ranks(_gathered_case, len(sizes), shards, {"num_bins": 4, "temperature": 0.5}, torch.float64)
    for terms, _, _ in answers:
        assert terms == pytest.approx([term.item() for term in expected], rel=1e-12)
    for view in range(2):
        gradient = torch.cat([answer[1 + view] for answer in answers])
        assert relative_error(gradient, whole.grad[view]) < 1e-12


def plain_pairs(z_views, num_bins, temperature):
    """The joint distribution averaged over the pairs of views, one after the other."""
    V, N, D = z_views.shape
    M, pairs = D // num_bins, list(itertools.combinations(range(V), 2))
    p = (z_views.view(V, N, M, num_bins) / temperature).softmax(-1).clamp(min=1e-8)
    joint = sum(torch.einsum("nik,njl->ijkl", p[a], p[b]) / N for a, b in pairs) / len(pairs)
    entropies = (joint * joint.log()).sum(dim=(2, 3))
    same = torch.stack([torch.diagonal(joint[m, m]) for m in range(M)])
    diagonal = (same * same.log()).sum() / M
    off_diagonal = (entropies.sum() - entropies.trace()) / (M * (M - 1))
    invariance = -sum((p[a] * p[b]).sum(-1).log().mean() for a, b in pairs) / len(pairs)
    return diagonal + off_diagonal + invariance, diagonal, off_diagonal, invariance


@pytest.mark.parametrize("num_views", [2, 3, 4, 7])
def test_many_views_are_the_average_over_their_pairs(num_views):
    z = torch.randn(num_views, 9, 12, dtype=torch.float64, requires_grad=True)
    terms = F.imsvd_loss(z, num_bins=4, temperature=0.5)
    expected = plain_pairs(z, 4, 0.5)
    torch.testing.assert_close(tuple(terms), tuple(expected), rtol=1e-12, atol=1e-12)
    gradient, wanted = (torch.autograd.grad(loss, z)[0] for loss in (terms.loss, expected[0]))
    assert relative_error(gradient, wanted) < 1e-12


def _many_views(rank, shards):
    z = shards[rank].requires_grad_()
    terms = F.imsvd_loss(z, num_bins=4, gather_distributed=True)
    terms.loss.backward()
    return [term.item() for term in terms], z.grad / dist.get_world_size()


@pytest.mark.parametrize("sizes", [(5, 4), (2, 3, 4)])
def test_many_views_on_ranks_equal_one_process(run_on_ranks, sizes):
    generator = torch.Generator().manual_seed(0)
    shards = [torch.randn(4, n, 20, generator=generator, dtype=torch.float64) for n in sizes]
    whole = torch.cat(shards, dim=1).requires_grad_()
    expected = F.imsvd_loss(whole, num_bins=4)
    expected.loss.backward()
    answers = run_on_ranks(_many_views, len(sizes), shards)
    for terms, _ in answers:
        assert terms == pytest.approx([term.item() for term in expected], rel=1e-12)
    assert relative_error(torch.cat([gradient for _, gradient in answers], dim=1), whole.grad) < 1e-12


@pytest.mark.parametrize("num_views", [2, 3, 6])
def test_many_views_cost_one_product_less_than_their_number(num_views):
    z = torch.randn(num_views, 6, 12, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        F.imsvd_loss(z, num_bins=4).loss.backward()
    assert counter.get_total_flops() == 3 * (num_views - 1) * 2 * 6 * 12**2


def _counted_flops(rank, num_variables):
    z = torch.randn(2, 6, 4 * num_variables, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        F.imsvd_loss(z, num_bins=4, gather_distributed=True).loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("num_variables", [12, 7])
def test_a_rank_makes_its_share_of_the_products(run_on_ranks, ranks, num_variables):
    products = 3 * 2 * (6 * ranks) * (4 * num_variables) ** 2
    counted = run_on_ranks(_counted_flops, ranks, num_variables)
    assert sum(counted) == products
    assert max(counted) == products * math.ceil(num_variables / ranks) / num_variables


@settings(max_examples=40, deadline=None)
@given(
    num_samples=st.integers(2, 9),
    num_variables=st.integers(1, 5),
    num_bins=st.integers(2, 6),
    temperature=st.floats(0.1, 5),
    weights=st.tuples(*[st.floats(0, 3)] * 3),
    seed=st.integers(0, 2**31),
)
def test_equals_the_definition(num_samples, num_variables, num_bins, temperature, weights, seed):
    z = torch.randn(
        2, num_samples, num_variables * num_bins, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    ours, plain = z.clone().requires_grad_(), z.clone().requires_grad_()
    w_dia, w_off, w_inv = weights
    terms = F.imsvd_loss(
        ours,
        num_bins,
        temperature=temperature,
        diagonal_weight=w_dia,
        off_diagonal_weight=w_off,
        invariance_weight=w_inv,
    )
    expected = plain_imsvd(*plain, num_bins, temperature, weights)
    assert [t.item() for t in terms] == pytest.approx([t.item() for t in expected], rel=1e-10, abs=1e-12)
    terms.loss.backward()
    expected[0].backward()
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-8, atol=1e-12)


def test_gradient_by_finite_differences():
    z = torch.randn(2, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: F.imsvd_loss(z, 4, temperature=0.7, off_diagonal_weight=0.3).loss, z)


def test_symmetric_in_the_views():
    z_a, z_b = torch.randn(2, 16, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    forwards, backwards = F.imsvd_loss([z_a, z_b], 5), F.imsvd_loss([z_b, z_a], 5)
    torch.testing.assert_close(torch.stack(forwards), torch.stack(backwards), rtol=1e-12, atol=0)


def one_hot(bins, num_bins, height=1e3):
    return height * torch.nn.functional.one_hot(bins, num_bins).flatten(1).double()


def test_best_values_of_the_terms():
    """Every combination of two variables once, with certainty, alike in both views: each term is at its best."""
    K = 4
    bins = torch.cartesian_prod(torch.arange(K), torch.arange(K))
    z = one_hot(bins, K)
    terms = F.imsvd_loss([z, z], K)
    assert terms.invariance == pytest.approx(0, abs=1e-6)
    assert terms.diagonal == pytest.approx(-math.log(K), abs=1e-5)
    assert terms.off_diagonal == pytest.approx(-2 * math.log(K), abs=1e-5)


def test_one_hot_codes_of_few_samples_cannot_pass_log_n():
    bins = torch.randint(16, (10, 6), generator=torch.Generator().manual_seed(0))
    assert F.imsvd_loss([one_hot(bins, 16)] * 2, 16).off_diagonal >= -math.log(10) - 1e-4


def test_collapse_is_the_worst_for_entropy():
    z = one_hot(torch.zeros(8, 3, dtype=torch.int64), 4)
    terms = F.imsvd_loss([z, z], 4)
    assert terms.diagonal == pytest.approx(0, abs=1e-5)
    assert terms.off_diagonal == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("autocast", [None, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["huge", "one_hot", "constant"])
def test_finite_in_every_precision(dtype, autocast, kind):
    generator = torch.Generator().manual_seed(0)
    z = {
        "huge": torch.randn(2, 12, 40, generator=generator).sign() * 1e4,
        "one_hot": one_hot(torch.randint(8, (2 * 12, 5), generator=generator), 8, height=1e4).view(2, 12, 40),
        "constant": torch.full((2, 12, 40), 3.0),
    }[kind]
    z = z.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        terms = F.imsvd_loss(z, 8)
    terms.loss.backward()
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms)
    assert z.grad.isfinite().all()
    exact = F.imsvd_loss(z.detach().double(), 8)
    assert [t.item() for t in terms] == pytest.approx([t.item() for t in exact], rel=1e-4, abs=1e-4)


def test_no_gradient_where_the_clamp_is_active():
    z = torch.tensor([[0.0, 100.0], [100.0, 0.0]], dtype=torch.float64, requires_grad=True)
    p = F.soft_discretize(z, 2)
    assert p.min() == 1e-8
    p[p == 1e-8].sum().backward()
    assert z.grad.abs().max() == 0


def test_only_the_loss_carries_a_gradient():
    terms = F.imsvd_loss(torch.randn(2, 4, 8, requires_grad=True), 4)
    assert [term.requires_grad for term in terms] == [True, False, False, False]


VIEW = torch.zeros(4, 8)


@pytest.mark.parametrize(
    ("error", "words", "views", "kwargs"),
    [
        (ValueError, ["at least two views", "got 1"], [VIEW], {}),
        (ValueError, ["z_views[0]", "(N, D)", "(4,)"], [VIEW[:, 0]] * 2, {}),
        (ValueError, ["z_views", "(4, 8)"], VIEW, {}),
        (ValueError, ["one shape", "(4, 8)", "(3, 8)"], [VIEW, VIEW[:3]], {}),
        (ValueError, ["N >= 2", "N = 1"], [VIEW[:1]] * 2, {}),
        (ValueError, ["N >= 2", "N = 0"], [VIEW[:0]] * 2, {}),
        (TypeError, ["z_views[0]", "floating", "int64"], [VIEW.long()] * 2, {}),
        (TypeError, ["z_views[1]", "list"], [VIEW, [1.0]], {}),
        (ValueError, ["num_bins", "D = 8", "num_bins = 3", "2, 4, 8"], [VIEW] * 2, {"num_bins": 3}),
        (ValueError, ["num_bins", ">= 2", "got 1"], [VIEW] * 2, {"num_bins": 1}),
        (TypeError, ["num_bins", "4.0"], [VIEW] * 2, {"num_bins": 4.0}),
        (ValueError, ["temperature", "> 0", "-1"], [VIEW] * 2, {"temperature": -1}),
        (ValueError, ["temperature", "> 0", "nan"], [VIEW] * 2, {"temperature": math.nan}),
        (TypeError, ["temperature", "'1'"], [VIEW] * 2, {"temperature": "1"}),
        (ValueError, ["diagonal_weight", ">= 0", "-1"], [VIEW] * 2, {"diagonal_weight": -1}),
        (ValueError, ["off_diagonal_weight", "inf"], [VIEW] * 2, {"off_diagonal_weight": math.inf}),
        (ValueError, ["invariance_weight", "-0.5"], [VIEW] * 2, {"invariance_weight": -0.5}),
        (TypeError, ["gather_distributed", "'yes'"], [VIEW] * 2, {"gather_distributed": "yes"}),
    ],
)
def test_wrong_input_is_named(error, words, views, kwargs):
    with pytest.raises(error) as caught:
        F.imsvd_loss(views, **{"num_bins": 4, **kwargs})
    assert all(word in str(caught.value) for word in words), caught.value


def test_gathering_needs_torch_distributed(monkeypatch):
    monkeypatch.setattr(dist, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"gather_distributed=True needs torch\.distributed"):
        F.imsvd_loss([VIEW] * 2, 4, gather_distributed=True)
