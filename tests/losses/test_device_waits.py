"""A training step never makes the host wait for its device: nothing is read back, and no list is copied there."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from imsvd_plugins.functional.kernels import GaussianKernel, RadialKernel
from imsvd_plugins.losses import HSICLoss, IMSVDLoss


class GramOnlyKernel(RadialKernel):
    """A kernel without a spectrum, as another package may bring."""

    evaluate = GaussianKernel.evaluate


LOSSES = {
    "imsvd": lambda **ranks: IMSVDLoss(num_bins=4, **ranks),
    "imq": lambda **ranks: HSICLoss(num_features=16, **ranks),
    "orf": lambda **ranks: HSICLoss("laplacian", num_features=16, features="orf", **ranks),
    "linear": lambda **ranks: HSICLoss("linear", **ranks),
    "gram": lambda **ranks: HSICLoss(GramOnlyKernel(), **ranks),
}

aten = torch.ops.aten
# What reads a value back, or depends on values in its shape.
READS = {aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select, aten.unique_dim}
# What makes a tensor from Python's numbers: on the host, so that it would have to be copied.
FROM_LISTS = {aten.lift_fresh, aten.lift_fresh_copy}


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait, of all tensors but those that live on the host on purpose."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.overloadpacket in READS | FROM_LISTS:
            raise AssertionError(f"{func} in a training step")
        if func.overloadpacket is aten._to_copy and not kwargs.get("non_blocking"):
            self.check_copy(func, args[0].device, kwargs.get("device") or args[0].device)
        if func.overloadpacket is aten.copy_ and not (args[2:] or kwargs.get("non_blocking")):
            self.check_copy(func, args[1].device, args[0].device)
        return func(*args, **kwargs)

    def check_copy(self, func, source, target):
        if source.type != target.type:
            raise AssertionError(f"{func} from {source} to {target} in a training step")


def step(criterion, num_samples=16, device="cpu", seed=0):
    z = torch.randn(3, num_samples, 8, generator=torch.Generator().manual_seed(seed)).to(device).requires_grad_()
    with NoWaiting():
        criterion(*z).backward()
    assert z.grad.shape == z.shape


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("num_samples", [16, 400])  # of more than 1024 vectors some are sampled
def test_on_one_rank(make, num_samples):
    criterion = make()
    for _ in range(2):
        step(criterion, num_samples)


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("num_samples", [16, 400])
def test_on_a_device_that_has_no_values(make, num_samples):
    """The meta device stands for one that is not the host: what reads a value from it fails by itself."""
    step(make().to("meta"), num_samples, device="meta")


def test_meta_inputs_leave_a_state_with_values_alone():
    criterion = HSICLoss(num_features=16)
    loss = criterion(*torch.empty(2, 16, 8, device="meta"))
    assert loss.is_meta
    assert loss.shape == ()
    torch.testing.assert_close(criterion.state_dict(), HSICLoss().state_dict(), rtol=0, atol=0)


def _step_on_ranks(rank):
    for make, uneven in itertools.product(LOSSES.values(), (False, True)):
        if not (uneven and make is LOSSES["gram"]):
            step(make(gather_distributed=True), 6 + rank * uneven, seed=rank)


def test_on_two_ranks(run_on_ranks):
    run_on_ranks(_step_on_ranks, 2)


@pytest.mark.parametrize("read", [lambda z: z.sum().item(), lambda z: bool(z.sum() > 0), lambda z: z.new_tensor([1.0])])
def test_the_guard_sees_what_it_is_for(read):
    with pytest.raises(AssertionError, match="in a training step"), NoWaiting():
        read(torch.ones(3))
