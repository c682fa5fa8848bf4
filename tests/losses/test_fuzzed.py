"""A sample of random cases: what autograd makes of the plain formulas, in every form that tensors and graphs take."""

import gc
import itertools

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imsvd_plugins import functional as F
from imsvd_plugins.functional import kernels
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

# Elements as they may lie in memory: each gives the same numbers.
LAYOUTS = {
    "contiguous": lambda z: z,
    "transposed": lambda z: z.T.contiguous().T,
    "every_second": lambda z: z.repeat_interleave(2, dim=1)[:, ::2],
    "offset": lambda z: torch.cat([z[:1], z])[1:],
    "from_half": lambda z: z.half().to(z.dtype),
}


def plain_imsvd(z_views, num_bins, temperature, weights):
    """The definition for any number of views, left to autograd."""
    V, N, D = z_views.shape
    M, pairs = D // num_bins, list(itertools.combinations(range(V), 2))
    p = (z_views.view(V, N, M, num_bins) / temperature).softmax(-1).clamp(min=1e-8)
    joint = sum(torch.einsum("nik,njl->ijkl", p[a], p[b]) for a, b in pairs) / (N * len(pairs))
    entropies = (joint * joint.log()).sum(dim=(2, 3))
    marginals = torch.stack([joint[m, m].diagonal() for m in range(M)])
    diagonal = (marginals * marginals.log()).sum() / M
    off_diagonal = (entropies.sum() - entropies.trace()) / max(1, M * (M - 1))
    invariance = -sum((p[a] * p[b]).sum(-1).log().mean() for a, b in pairs) / len(pairs)
    w_dia, w_off, w_inv = weights
    return w_dia * diagonal + w_off * off_diagonal + w_inv * invariance


@settings(max_examples=60, deadline=None)
@example((3, 5, 5, 4), 1 / 3, (1.0, 1.0, 1.0), torch.float32, "from_half", [False, False, True, False], 5)
@given(
    shape=st.tuples(st.integers(2, 4), st.integers(2, 9), st.integers(1, 5), st.integers(2, 6)),
    temperature=st.floats(0.1, 5),
    weights=st.tuples(*[st.sampled_from([0.0, 0.3, 1.0, 2.0])] * 3),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    layout=st.sampled_from(sorted(LAYOUTS)),
    wanted=st.lists(st.booleans(), min_size=4, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_imsvd_is_autograd_of_the_formula(shape, temperature, weights, dtype, layout, wanted, seed):
    """Value and gradient, of those views that want one."""
    (V, N, M, K), (w_dia, w_off, w_inv) = shape, weights
    generator = torch.Generator().manual_seed(seed)
    leaves = [torch.randn(N, M * K, generator=generator).to(dtype).requires_grad_(w) for w in wanted[:V]]
    views = [LAYOUTS[layout](z) for z in leaves]
    terms = F.imsvd_loss(
        views, K, temperature=temperature, diagonal_weight=w_dia, off_diagonal_weight=w_off, invariance_weight=w_inv
    )
    plain = plain_imsvd(torch.stack(views).double(), K, temperature, weights)
    close = {"rtol": 1e-9, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(terms.loss.double(), plain, **close)
    assert terms.loss.requires_grad == any(wanted[:V])
    leaves = [z for z in leaves if z.requires_grad]
    if leaves:
        ours, expected = (torch.autograd.grad(loss, leaves) for loss in (terms.loss, plain))
        if layout == "from_half" and dtype == torch.float32:
            # The cast's own backward rounds both to float16: two that are close may end on neighbouring numbers.
            close["rtol"] = torch.finfo(torch.float16).eps
        torch.testing.assert_close(ours, expected, **close)


@settings(max_examples=25, deadline=None)
@given(
    make=st.sampled_from([lambda: IMSVDLoss(4), lambda: HSICLoss(num_features=8).eval(), lambda: HSICLoss("linear")]),
    factors=st.lists(st.floats(-2, 2), min_size=1, max_size=3),
    shared=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_a_loss_is_a_node_like_any_other(make, factors, shared, seed):
    """Several backward passes through one graph add up; a view that is used twice gets both of its gradients."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, 6, 8, generator=generator, dtype=torch.float64).requires_grad_()
    criterion = make()
    views = (z[0], z[0] + z[1]) if shared else tuple(z)
    loss = criterion(*views)
    (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
    for factor in factors:
        (factor * loss).backward(retain_graph=True)
    torch.testing.assert_close(z.grad, sum(factors) * gradient, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        assert not criterion(*views).requires_grad
    assert not criterion(*z.detach()).requires_grad
    direction = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    if not (isinstance(criterion, HSICLoss) and criterion.training):
        with torch.no_grad():
            above, below = (
                criterion(*((moved[0], moved[0] + moved[1]) if shared else moved))
                for moved in (z + 1e-6 * direction, z - 1e-6 * direction)
            )
        torch.testing.assert_close((above - below) / 2e-6, (gradient * direction).sum(), rtol=1e-4, atol=1e-6)


@settings(max_examples=12, deadline=None)
@given(
    kernel=st.sampled_from([kernels.InverseMultiquadricKernel(), kernels.GaussianKernel(), kernels.LaplacianKernel()]),
    features=st.sampled_from(["rff", "orf"]),
    dim=st.integers(1, 40),
    scale=st.floats(0.4, 3),
    seed=st.integers(0, 2**31),
)
def test_random_features_approach_their_kernel(kernel, features, dim, scale, seed):
    """In any dimension, at any scale: the mean of F waves lies within six of its standard errors."""
    num_features = 20_000
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, 3, dim, generator=generator, dtype=torch.float64)
    draw = F.sample_random_features(
        kernel, num_features, dim, features=features, generator=generator, dtype=torch.float64
    )
    error = draw(x, scale) @ draw(y, scale).T - kernel.gram(x, y, scale)
    # Each wave's part of the sum has a variance of at most 1.5.
    assert error.abs().max() < 6 * (1.5 / num_features) ** 0.5


@pytest.fixture
def only_new_objects():
    """gc.get_objects lists only what the test creates: earlier tests' tensors may go at any time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_new_objects")
def test_steps_leave_nothing_behind():
    """As many tensors after 60 steps as after 20."""
    generator = torch.Generator().manual_seed(0)
    criteria = [IMSVDLoss(4), HSICLoss(num_features=8), HSICLoss("linear")]

    def count():
        gc.collect()
        # What repeats a checkpointed forward is kept on purpose, and bounded.
        kept = sum(len(c._forwards._used) for c in criteria if isinstance(c, HSICLoss))
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()) - kept

    counts = []
    for steps in (20, 40):
        for _ in range(steps):
            for criterion in criteria:
                z = torch.randn(2, 8, 8, generator=generator).requires_grad_()
                criterion(*z).backward()
                del z
        counts.append(count())
    assert counts[0] == counts[1]
