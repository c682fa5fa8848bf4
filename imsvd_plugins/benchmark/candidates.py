"""The losses that compete: each makes its inputs and returns one step, forward and backward."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from imsvd_plugins.benchmark.settings import MANY_VIEWS, Settings
from imsvd_plugins.distributed import all_gather
from imsvd_plugins.functional import soft_discretize
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

Step = Callable[[], None]

# Lightly's, by the names of their classes.
LIGHTLY = {"barlow-twins": "BarlowTwinsLoss", "vicreg": "VICRegLoss", "nt-xent": "NTXentLoss"}


def make_step(loss: str, settings: Settings, rank: int, device: torch.device) -> Step:
    """Inputs on the device, different on each rank, and the step that is measured.

    Args:
        loss: A key of :data:`~imsvd_plugins.benchmark.settings.LOSSES`.
        settings: Settings of the run.
        rank: This process's rank.
        device: This rank's device.

    Returns:
        A function that runs the loss forward and backward.
    """
    shape = (settings.samples // settings.ranks, settings.dim)
    generator = torch.Generator().manual_seed(rank)
    views = [
        torch.randn(shape, generator=generator).to(device, getattr(torch, settings.dtype)).requires_grad_()
        for _ in range(settings.views if loss in MANY_VIEWS else 2)
    ]
    if loss == "products":
        return _products(views, settings, rank)
    criterion = _criterion(loss, settings)
    autocast = getattr(torch, settings.autocast or "bfloat16")

    def step() -> None:
        for z in views:
            z.grad = None
        with torch.autocast(device.type, dtype=autocast, enabled=settings.autocast is not None):
            value = criterion(*views)
        value.backward()  # type: ignore[no-untyped-call]

    return step


def _criterion(loss: str, settings: Settings) -> Callable[..., Tensor]:
    gather = settings.ranks > 1
    if loss == "imsvd":
        return IMSVDLoss(settings.bins, gather_distributed=gather)
    if loss == "imsvd-plain":
        return lambda z_a, z_b: plain_imsvd(z_a, z_b, settings.bins)
    if loss in LIGHTLY:
        made: Any = getattr(import_module("lightly.loss"), LIGHTLY[loss])
        return made(gather_distributed=gather)  # type: ignore[no-any-return]
    features = "orf" if loss == "hsic-orf" else "rff"
    return HSICLoss(num_features=settings.features, features=features, gather_distributed=gather)


def plain_imsvd(z_a: Tensor, z_b: Tensor, num_bins: int) -> Tensor:
    """The formula of :func:`~imsvd_plugins.functional.imsvd_loss` at weights 1, as one would first write it.

    The whole joint distribution is held, and its blocks off the diagonal are selected by a mask; the probabilities of
    all ranks are gathered, and every rank forms the whole.
    """
    p_a, p_b = (all_gather(soft_discretize(z, num_bins)) for z in (z_a, z_b))
    num_samples, num_variables = p_a.shape[:2]
    joint = p_a.flatten(1).T @ p_b.flatten(1) / num_samples
    blocks = joint.view(num_variables, num_bins, num_variables, num_bins).transpose(1, 2)
    different = ~torch.eye(num_variables, dtype=torch.bool, device=joint.device)
    marginals, off_diagonal = joint.diagonal(), blocks[different]
    return (
        (marginals * marginals.log()).sum() / num_variables
        + (off_diagonal * off_diagonal.log()).sum() / max(1, num_variables * (num_variables - 1))
        - (p_a * p_b).sum(dim=-1).log().mean()
    )


def _products(views: list[Tensor], settings: Settings, rank: int) -> Step:
    """``p_a^T p_b``, ``p_b G^T`` and ``p_a G``: of several ranks, this one's rows of the first, without communication.

    Of ``V`` views, those of ``(V - 1) N`` samples: all pairs need no more, see ``functional.view_pairs``.
    Their results are kept from step to step, so that memory is not allocated anew in a time that serves as reference.
    """
    ranks, dim = settings.ranks, settings.dim
    rows = dim * (rank + 1) // ranks - dim * rank // ranks
    # Autocast does not reach products that write into given memory.
    dtype = getattr(torch, settings.autocast or settings.dtype)
    stacks = torch.cat(views[:-1]), torch.cat(views[1:])
    p_a, p_b = (z.detach().to(dtype).repeat(ranks, 1) for z in stacks)
    p_a = p_a[:, :rows].contiguous()
    joint, grad_a, grad_b = (p_a.new_empty(0) for _ in range(3))

    def step() -> None:
        torch.mm(p_a.T, p_b, out=joint)
        torch.mm(p_b, joint.T, out=grad_a)
        torch.mm(p_a, joint, out=grad_b)

    return step
