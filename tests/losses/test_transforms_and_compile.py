"""The losses under torch's compiler and torch.func: exactly, or refused in one line."""

import pytest
import torch

from imsvd_plugins import functional as F
from imsvd_plugins.functional.kernels import GaussianKernel
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

pytestmark = [
    # torch.func.jvp compiles with what torch itself is giving up.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
    # Behind a cut between two graphs the compiler asks tensors for a gradient that they do not have.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    # The compiler of torch 2.6 makes an object of a Function's class.
    pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning"),
]

Z = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0))
REFUSED = {
    "grad": lambda f: torch.func.grad(f)(Z),
    "vmap": lambda f: torch.func.vmap(f)(torch.stack([Z, Z])),
    "jvp": lambda f: torch.func.jvp(f, (Z,), (Z,)),
}


@pytest.fixture(autouse=True)
def forget_what_was_compiled():
    yield
    torch.compiler.reset()


def train(criterion, loss):
    """Values and gradients of three steps, and the state after them."""
    history = []
    for step in range(3):
        z = (Z + step).requires_grad_()
        value = loss(z)
        value.backward()
        history += [value.detach(), z.grad]
    return history, criterion.state_dict()


# torch 2.15's own lowering of a diagonal.
@pytest.mark.filterwarnings("ignore:`torch._prims_common.check` is deprecated:FutureWarning")
@pytest.mark.parametrize("make", [lambda: IMSVDLoss(num_bins=4), lambda: HSICLoss(num_features=16)])
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_training_is_the_training(make, backend):
    eager, compiled = make(), make()
    expected = train(eager, lambda z: eager(*torch.sin(z)))
    got = train(compiled, torch.compile(lambda z: compiled(*torch.sin(z)), backend=backend))
    torch.testing.assert_close(got, expected)


def test_imsvd_is_one_graph():
    loss = torch.compile(lambda z: F.imsvd_loss(z, 4).loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(loss(Z), F.imsvd_loss(Z, 4).loss)


def test_hsic_is_cut_where_its_state_changes_and_nowhere_else():
    criterion = HSICLoss(num_features=16)
    found = torch._dynamo.explain(lambda z: criterion(*z))(Z)
    begin, move_on = [reason.user_stack[-1].line for reason in found.break_reasons]
    assert "self._begin(" in begin
    assert "self._move_on(" in move_on


@pytest.mark.parametrize("transform", REFUSED.values(), ids=REFUSED)
def test_imsvd_refuses_function_transforms(transform):
    with pytest.raises(NotImplementedError, match=r"torch\.func.*use torch\.autograd\.$"):
        transform(lambda z: F.imsvd_loss(z, 4).loss)


@pytest.mark.parametrize("transform", REFUSED.values(), ids=REFUSED)
def test_hsic_refuses_function_transforms_in_training_and_stays_as_it_was(transform):
    criterion = HSICLoss(num_features=16)
    with pytest.raises(NotImplementedError, match=r"training mode.*torch\.func.*eval\(\)"):
        transform(lambda z: criterion(*z))
    torch.testing.assert_close(criterion.state_dict(), HSICLoss().state_dict(), rtol=0, atol=0)


def test_hsic_in_evaluation_mode_and_as_a_function_goes_through_transforms():
    draws = [
        F.sample_random_features(GaussianKernel(), 16, 8, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 1)
    ]
    criterion = HSICLoss(num_features=16).eval()
    for loss in (lambda z: F.ssl_hsic_loss(z, *draws).loss, lambda z: criterion(*z)):
        z = Z.clone().requires_grad_()
        loss(z).backward()
        torch.testing.assert_close(torch.func.grad(loss)(Z), z.grad)
        slope = torch.func.jvp(loss, (Z,), (Z,))[1]
        torch.testing.assert_close(slope.float(), (z.grad * Z).sum())
        both = torch.func.vmap(loss, randomness="same")(torch.stack([Z, 2 * Z]))
        torch.testing.assert_close(both, torch.stack([loss(Z), loss(2 * Z)]))
