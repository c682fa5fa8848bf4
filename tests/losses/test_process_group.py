"""The losses over a part of the ranks: what DDP over this part trains on."""

import copy
import itertools

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from imsvd_plugins import distributed
from imsvd_plugins import functional as F
from imsvd_plugins.functional.kernels import GaussianKernel, LinearKernel, RadialKernel
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

NUM_BINS, DIM = 4, 28  # 7 variables, which 2 ranks cannot share equally


class GramOnlyKernel(RadialKernel):
    """A kernel without a spectrum, as another package may bring."""

    evaluate = GaussianKernel.evaluate


def make_losses(**ranks):
    yield IMSVDLoss(NUM_BINS, temperature=0.5, off_diagonal_weight=2.0, **ranks)
    for kernel in ("imq", LinearKernel(), GramOnlyKernel()):
        yield HSICLoss(kernel, num_features=16, **ranks)


def make_model():
    torch.manual_seed(0)
    return nn.Linear(6, DIM, dtype=torch.float64)


def data(views, sizes):
    """Each rank's views of its own samples."""
    return [
        torch.randn(views, size, 6, generator=torch.Generator().manual_seed(rank), dtype=torch.float64)
        for rank, size in enumerate(sizes)
    ]


def gradients(model, criterion, batch, steps=2):
    """Values, and gradients of the projector's parameters, of some steps; and the kernel's scale after them."""
    values = []
    for _ in range(steps):
        model.zero_grad()
        terms = criterion.forward_components(*model(batch.flatten(0, 1)).unflatten(0, batch.shape[:2]))
        terms.loss.backward()
        values.append(torch.stack([term.double() for term in terms]).detach())
        values += [parameter.grad.clone() for parameter in model.parameters()]
    return [*values, getattr(criterion, "scale", torch.zeros(())).clone()]


CASES = list(itertools.product((2, 3), ((4, 4, 4, 4), (3, 1, 2, 5))))


def _train_in_groups(rank, as_mesh):
    """Ranks 0 and 1 are one group, 2 and 3 the other."""
    if as_mesh:
        group = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "dp"))["dp"]
        ddp = {"device_mesh": group}
    else:
        group = [dist.new_group([0, 1]), dist.new_group([2, 3])][rank // 2]
        ddp = {"process_group": group}
    answers = []
    for views, sizes in CASES:
        for criterion in make_losses(gather_distributed=True, process_group=group):
            if len(set(sizes)) == 1 or not isinstance(getattr(criterion, "kernel", None), GramOnlyKernel):
                model = nn.parallel.DistributedDataParallel(make_model(), **ddp)
                answers.append(gradients(model, criterion, data(views, sizes)[rank]))
    return answers


@pytest.mark.parametrize("as_mesh", [False, True], ids=["group", "mesh"])
def test_ddp_over_a_part_of_the_ranks_is_one_process_with_their_batch(run_on_ranks, as_mesh):
    answers = run_on_ranks(_train_in_groups, 4, as_mesh)
    for rank, answer in enumerate(answers):
        expected = []
        for views, sizes in CASES:
            for criterion in make_losses():
                if len(set(sizes)) == 1 or not isinstance(getattr(criterion, "kernel", None), GramOnlyKernel):
                    start = rank // 2 * 2
                    batch = torch.cat(data(views, sizes)[start : start + 2], dim=1)
                    expected.append(gradients(make_model(), criterion, batch))
        # The second step has another scale: its pairs are a rank's own, and their derivative is averaged.
        for got, want in zip(answer, expected, strict=True):
            torch.testing.assert_close(got[:3], want[:3], rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(got[3:], want[3:], rtol=2e-3, atol=1e-6)


def _with_an_empty_batch(rank):
    group = [dist.new_group([0, 1]), dist.new_group([2, 3])][rank // 2]
    messages = []
    for process_group in (None, group):
        for criterion in make_losses(gather_distributed=True, process_group=process_group):
            z = torch.randn(2, 3 * (rank != 1), DIM)
            try:
                messages.append(float(criterion(*z)))
            except ValueError as error:
                messages.append(str(error))
            if isinstance(criterion, HSICLoss):  # no state has moved where there was an error
                assert criterion._draws == isinstance(messages[-1], float)
    return messages


def test_an_empty_batch_is_an_error_on_all_ranks_of_the_group(run_on_ranks):
    for rank, messages in enumerate(run_on_ranks(_with_an_empty_batch, 4)):
        world, group = messages[:4], messages[4:]
        assert all("every rank needs at least one sample, got [3, 0, 3, 3]" in message for message in world)
        if rank < 2:
            assert all("z_views" in message and "got [3, 0]" in message for message in group)
        else:
            assert all(isinstance(value, float) for value in group)


def _sizes_without_a_host_backend(rank):
    """A backend for a device alone, as NCCL is, has no way for what lies in the host's memory."""
    made, new_group = [], dist.new_group
    device_only = new_group([1, 2], backend="cuda:gloo")  # by all ranks, as torch wants it
    if rank == 0:
        return None
    dist.new_group = lambda *args, **kwargs: made.append(args) or new_group(*args, **kwargs)
    try:
        sizes = [distributed.batch_sizes(number + rank, group=device_only) for number in range(3)]
    finally:
        dist.new_group = new_group
    return sizes, made


def test_the_hosts_have_a_group_of_their_own_where_the_backend_is_for_a_device(run_on_ranks):
    """Made once, by the ranks of the group alone."""
    outside, *inside = run_on_ranks(_sizes_without_a_host_backend, 3)
    assert outside is None
    assert inside == [([[1, 2], [2, 3], [3, 4]], [([1, 2],)])] * 2


def _learn_without_gathering(rank, grouped):
    """Scales after some steps, of data that pull them in different directions; and whether a warning came."""
    criterion = HSICLoss(
        "gaussian", num_features=4, normalize=False, process_group=dist.group.WORLD if grouped else None
    )
    z = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(rank)) * (0.1, 3.0)[rank]
    if grouped:
        criterion(*z)
    else:
        with pytest.warns(UserWarning, match=r"2 ranks.*gather_distributed=True.*process_group=.*learn_scale=False"):
            criterion(*z)
    criterion(*z)  # warns once: the ranks turn warnings into errors
    HSICLoss("gaussian", num_features=4, learn_scale=False)(*z)
    HSICLoss("linear")(*z)
    return criterion.scale.item(), criterion.eval().forward_components(*z).hsic_zy.item()


@pytest.mark.parametrize("grouped", [True, False])
def test_without_gathering_the_scale_is_shared_on_request_or_there_is_a_warning(run_on_ranks, grouped):
    (scale, value), (other_scale, other_value) = run_on_ranks(_learn_without_gathering, 2, grouped)
    assert (scale == other_scale) == grouped
    assert value != other_value  # the batch stays the rank's own


def _share_the_scale_of_one_sample(rank):
    with pytest.raises(ValueError, match=r"every rank needs at least two samples, got \[3, 1\]"):
        HSICLoss(num_features=4, process_group=dist.group.WORLD)(*torch.randn(2, 3 - 2 * rank, 8))


def test_a_batch_of_one_that_shares_the_scale_is_an_error_on_all_ranks(run_on_ranks):
    run_on_ranks(_share_the_scale_of_one_sample, 2)


@pytest.mark.parametrize("make", [IMSVDLoss, HSICLoss])
def test_what_is_no_group_is_named(make):
    with pytest.raises(TypeError, match=r"process_group must be a ProcessGroup .* got 3 of type int"):
        make(process_group=3)


def test_a_group_that_this_process_is_not_in_is_refused():
    with pytest.raises(ValueError, match="process_group must be a group that this process is in"):
        IMSVDLoss(process_group=dist.GroupMember.NON_GROUP_MEMBER)


@pytest.fixture
def one_rank():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_a_group_is_not_silently_ignored():
    z, draw = torch.zeros(2, 4, 8), F.sample_random_features(GaussianKernel(), 4, 8)
    for call in (
        lambda group: F.imsvd_loss(z, 4, process_group=group),
        lambda group: F.ssl_hsic_loss(z, draw, draw, process_group=group),
        lambda group: IMSVDLoss(4, process_group=group)(*z),
    ):
        with pytest.raises(ValueError, match="process_group is given, but gather_distributed is False"):
            call(dist.group.WORLD)


@pytest.mark.usefixtures("one_rank")
def test_a_mesh_of_two_dimensions_is_refused():
    mesh = init_device_mesh("cpu", (1, 1), mesh_dim_names=("dp", "tp"))
    with pytest.raises(ValueError, match=r"one dimension, got one of 2; pass .* mesh\['dp'\]"):
        HSICLoss(process_group=mesh)
    assert HSICLoss(process_group=mesh["dp"]).process_group.ndim == 1


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize("make", [IMSVDLoss, HSICLoss])
def test_a_copy_is_in_the_same_group(make):
    criterion = make(gather_distributed=True, process_group=dist.group.WORLD)
    copied = copy.deepcopy(nn.Sequential(criterion))[0]
    assert copied.process_group is criterion.process_group
    assert copied is not criterion
    assert type(copied) is make
