"""The losses as modules: state, precision, placement and settings."""

import copy
import math

import pytest
import torch
import torch.distributed as dist
from torch import nn

from imsvd_plugins import functional as F
from imsvd_plugins.functional.kernels import Kernel, LaplacianKernel, RadialKernel
from imsvd_plugins.losses import HSICLoss, IMSVDLoss


class GramOnlyKernel(RadialKernel):
    """A kernel without a spectrum, as another package may bring."""

    def evaluate(self, squared_distance, scale):
        return (squared_distance / (-2 * scale**2)).exp()


def views(num_views=2, num_samples=16, dim=8, seed=0, dtype=torch.float32):
    return torch.randn(num_views, num_samples, dim, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_imsvd_is_the_function():
    z = views()
    settings = {"temperature": 0.5, "diagonal_weight": 2.0, "off_diagonal_weight": 0.5, "invariance_weight": 3.0}
    criterion = IMSVDLoss(num_bins=4, **settings)
    expected = F.imsvd_loss(z, 4, **settings)
    assert torch.equal(criterion(*z), expected.loss)
    assert all(torch.equal(a, b) for a, b in zip(criterion.forward_components(*z), expected, strict=True))


def test_hsic_is_the_function_of_its_draws():
    """The loss of a step, rebuilt from the draws that the seed and the step define."""
    z = nn.functional.normalize(views(3), dim=-1)
    criterion = HSICLoss(num_features=32, gamma=2.0, seed=7, learn_scale=False)
    losses = [criterion(*z) for _ in range(2)]
    for step, loss in enumerate(losses):
        generator = torch.Generator().manual_seed(7 * 1_000_003 + step)
        draws = [F.sample_random_features(criterion.kernel, 32, 8, generator=generator) for _ in range(2)]
        torch.testing.assert_close(loss, F.ssl_hsic_loss(z, *draws, gamma=2.0).loss)


def test_one_draw_serves_all_views(monkeypatch):
    calls = []
    sample = F.sample_random_features
    monkeypatch.setattr(F, "sample_random_features", lambda *a, **k: calls.append(a) or sample(*a, **k))
    HSICLoss(num_features=16)(*views(4))
    assert len(calls) == 2  # the two that HSIC(Z, Z) needs, however many views


def test_draws_differ_from_step_to_step_and_repeat_in_evaluation():
    z = views()
    criterion = HSICLoss(num_features=16, learn_scale=False)
    training = [criterion(*z).item() for _ in range(5)]
    assert len(set(training)) == 5
    criterion.eval()
    assert criterion(*z).item() == criterion(*z).item()
    state = copy.deepcopy(criterion.state_dict())
    criterion(*z)
    assert all(torch.equal(state[key], value) for key, value in criterion.state_dict().items())


def test_a_resumed_loss_goes_on_as_the_uninterrupted_one(tmp_path):
    uninterrupted = HSICLoss(num_features=16)
    for step in range(3):
        uninterrupted(*views(seed=step))
    torch.save(uninterrupted.state_dict(), tmp_path / "loss.pt")
    resumed = HSICLoss(num_features=16)
    resumed.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    for step in range(3, 6):
        expected, got = (loss.forward_components(*views(seed=step)) for loss in (uninterrupted, resumed))
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def _draws_on_a_rank(rank):
    criterion = HSICLoss(num_features=16, gather_distributed=True)
    z = views(seed=rank)
    history = []
    for _ in range(10):
        terms = criterion.forward_components(*z)
        history.append([term.item() for term in terms])
    return history, criterion.scale.item()


def test_same_draws_and_scale_on_every_rank(run_on_ranks):
    """The ranks' values agree only if their draws and scales do, for their data differ."""
    (first, scale), (second, other_scale) = run_on_ranks(_draws_on_a_rank, 2)
    torch.testing.assert_close(torch.tensor(first), torch.tensor(second))
    assert len({step[3] for step in first}) == 10  # the scale moves
    # Adam's first steps are alike whatever the gradient's size: only to the last digits do they show an average.
    assert scale == pytest.approx(other_scale, rel=0, abs=1e-7)


@pytest.mark.parametrize("kernel", ["imq", "gaussian", "laplacian", GramOnlyKernel()])
def test_scale_climbs_its_objective(kernel):
    """Adam's first step is the learning rate, in the direction of the gradient over all pairs i < j of all views."""
    criterion = HSICLoss(kernel, num_features=16)
    z = views()
    vectors = nn.functional.normalize(z, dim=-1).flatten(0, 1)
    distances = nn.functional.pdist(vectors).square()
    direction = criterion.kernel.scale_ascent(distances, torch.tensor(1.0)).sign().item()
    terms = criterion.forward_components(*z)
    assert terms.scale.item() == 1.0  # it takes effect from the next forward
    assert criterion.scale.item() == pytest.approx(1 + 3e-4 * direction, abs=1e-6)
    assert criterion.forward_components(*z).scale.item() == pytest.approx(criterion.scale.item(), abs=4e-4)


def test_scale_reaches_the_optimum_of_its_objective():
    """For the Gaussian the optimum is known: c^2 = mean r^2 / 2."""
    criterion = HSICLoss("gaussian", num_features=1)
    z = 0.3 * views()  # the draws do not matter here, so the vectors need not be normalised
    criterion.normalize = False
    for _ in range(2000):
        criterion(*z)
    distances = nn.functional.pdist(z.flatten(0, 1)).square()
    assert criterion.scale.item() == pytest.approx(math.sqrt(distances.mean().item() / 2), rel=0.01)


def test_pairs_are_taken_of_a_sample_of_the_vectors():
    """Of 8,000 vectors, of which 1,024 are looked at, drawn from both halves."""
    z = torch.zeros(2, 4000, 4)
    z[:, :2000, 0] = 3.0  # half of all pairs at r^2 = 9: above 2 c^2 = 2, so the scale must grow
    criterion = HSICLoss("gaussian", num_features=4, normalize=False)
    distances = []
    ascent = criterion.kernel.scale_ascent
    criterion.kernel.scale_ascent = lambda squared, scale: distances.append(squared) or ascent(squared, scale)
    criterion(*z)
    assert distances[0].numel() == 1024 * 1023 // 2
    assert distances[0].mean().item() == pytest.approx(4.5, rel=0.05)
    assert criterion.scale.item() == pytest.approx(1 + 3e-4, abs=1e-6)


def test_scale_survives_an_overflowing_step_and_collapse():
    criterion = HSICLoss(num_features=16)
    criterion(*torch.full((2, 8, 4), math.inf))
    assert criterion.scale.isfinite()
    criterion.scale.fill_(1.1e-3)
    for _ in range(5):
        criterion(*torch.ones(2, 8, 4))
    assert criterion.scale.item() > 0


def test_backward_sees_the_scale_of_its_forward():
    z = views().requires_grad_()
    criterion = HSICLoss(num_features=16)
    loss = criterion(*z)  # moves the scale afterwards
    loss.backward()
    frozen = HSICLoss(num_features=16, learn_scale=False)
    again = z.detach().clone().requires_grad_()
    frozen(*again).backward()
    torch.testing.assert_close(z.grad, again.grad)


def test_linear_kernel_is_exact_and_has_no_scale():
    z = nn.functional.normalize(views(), dim=-1)
    criterion = HSICLoss("linear")
    terms = criterion.forward_components(*z)
    assert terms.hsic_zy.item() == pytest.approx(F.hsic_exact_zy(z, criterion.kernel, 1.0).item(), rel=1e-5)
    assert terms.hsic_zz.item() == pytest.approx(F.hsic_exact_zz(z, criterion.kernel, 1.0).item(), rel=1e-4)
    assert criterion.scale.item() == 1.0


def test_kernel_without_spectrum_is_exact():
    z = nn.functional.normalize(views(), dim=-1)
    terms = HSICLoss(GramOnlyKernel()).forward_components(*z)
    gaussian = F.ssl_hsic_gram_loss(z, GramOnlyKernel())
    torch.testing.assert_close(terms.loss, gaussian.loss)


def test_state_is_no_parameter():
    criterion = HSICLoss()
    assert not list(criterion.parameters())
    assert set(criterion.state_dict()) == {
        "learned_scale.value",
        "learned_scale.exp_avg",
        "learned_scale.exp_avg_sq",
        "learned_scale.step",
        "_extra_state",
    }


@pytest.mark.parametrize("cast", [nn.Module.half, nn.Module.bfloat16, nn.Module.double])
def test_state_keeps_its_precision(cast):
    criterion = HSICLoss(num_features=16)
    criterion(*views())
    before = {key: value.clone() for key, value in criterion.state_dict().items()}
    cast(nn.Sequential(criterion))
    assert all(torch.equal(value, before[key]) for key, value in criterion.state_dict().items())
    assert criterion.scale.dtype == torch.float32


def test_built_on_meta_and_materialised():
    with torch.device("meta"):
        criterion = HSICLoss(num_features=16)
        IMSVDLoss()
    assert criterion.scale.is_meta
    criterion.to_empty(device="cpu")
    criterion.reset_parameters()
    assert torch.equal(criterion(*views()), HSICLoss(num_features=16)(*views()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("autocast", [None, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["imq", "gaussian", "laplacian", "linear", GramOnlyKernel()])
@pytest.mark.parametrize("value", ["huge", "one_hot", "constant", "zero"])
def test_hsic_is_finite_in_every_precision(dtype, autocast, kernel, value):
    z = {
        "huge": views(dim=40).sign() * 1e4,
        "one_hot": torch.eye(8).repeat(4, 1).view(2, 16, 8),
        "constant": torch.full((2, 16, 8), 3.0),
        "zero": torch.zeros(2, 16, 8),
    }[value]
    z = z.to(dtype).requires_grad_()
    criterion = HSICLoss(kernel, num_features=16)
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        loss = criterion(*z)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert criterion.scale.isfinite()
    assert z.grad.isfinite().all()


def test_float64_stays_float64():
    for criterion in (IMSVDLoss(num_bins=4), HSICLoss(num_features=16)):
        assert criterion(*views(dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("make", [IMSVDLoss, HSICLoss])
def test_copies_and_prints(make):
    criterion = copy.deepcopy(make())
    assert "gather_distributed=False" in repr(criterion)


class NoKernel:
    def gram(self, x, y, scale):
        return x @ y.T


@pytest.mark.parametrize(
    ("error", "words", "make"),
    [
        (ValueError, ["num_bins", ">= 2", "1"], lambda: IMSVDLoss(num_bins=1)),
        (TypeError, ["num_bins", "80.0"], lambda: IMSVDLoss(num_bins=80.0)),
        (ValueError, ["temperature", "-1"], lambda: IMSVDLoss(temperature=-1)),
        (ValueError, ["invariance_weight", "-1"], lambda: IMSVDLoss(invariance_weight=-1)),
        (ValueError, ["num_bins", "D = 8", "2, 4, 8"], lambda: IMSVDLoss(num_bins=3)(*views())),
        (ValueError, ["kernel", "imqq", "imq", "gaussian", "laplacian", "linear"], lambda: HSICLoss("imqq")),
        (TypeError, ["kernel", "int"], lambda: HSICLoss(3)),
        (TypeError, ["kernel", "NoKernel"], lambda: HSICLoss(NoKernel())),
        (TypeError, ["kernel", "LaplacianKernel", "object"], lambda: HSICLoss(LaplacianKernel)),
        (ValueError, ["num_features", "0"], lambda: HSICLoss(num_features=0)),
        (ValueError, ["features", "'fourier'", "rff"], lambda: HSICLoss(features="fourier")),
        (ValueError, ["gamma", "-3"], lambda: HSICLoss(gamma=-3)),
        (ValueError, ["seed", "-1"], lambda: HSICLoss(seed=-1)),
        (TypeError, ["learn_scale", "'no'"], lambda: HSICLoss(learn_scale="no")),
        (TypeError, ["normalize", "'no'"], lambda: HSICLoss(normalize="no")),
        (ValueError, ["two views", "got 1"], lambda: HSICLoss()(views()[0])),
        (ValueError, ["two views", "got 0"], HSICLoss()),
        (TypeError, ["z_views[0]", "int64"], lambda: HSICLoss()(*views().long())),
    ],
)
def test_wrong_settings_are_named(error, words, make):
    with pytest.raises(error) as caught:
        make()
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("make", [IMSVDLoss, HSICLoss])
def test_gathering_needs_torch_distributed(monkeypatch, make):
    monkeypatch.setattr(dist, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"gather_distributed=True needs torch\.distributed"):
        make(gather_distributed=True)


def test_kernel_objects_are_taken_as_they_are():
    kernel = GramOnlyKernel()
    assert isinstance(kernel, Kernel)
    assert HSICLoss(kernel).kernel is kernel
