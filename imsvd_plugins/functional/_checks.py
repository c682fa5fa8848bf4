"""Validation of batches of views. Each error names the argument, the given value and what is allowed."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor

from imsvd_plugins.checks import check_boolean
from imsvd_plugins.distributed import GroupOrMesh, ProcessGroup, batch_sizes, resolve_group, world_size


def check_gather_distributed(gather_distributed: bool) -> None:
    """Refuse to gather with a torch that was built without ``torch.distributed``."""
    check_boolean("gather_distributed", gather_distributed)
    if gather_distributed and not dist.is_available():
        raise ValueError(
            "gather_distributed=True needs torch.distributed, which this build of torch lacks; set it to False."
        )


def global_batch(
    z_views: Sequence[Tensor] | Tensor, gather_distributed: bool, process_group: GroupOrMesh | None
) -> tuple[list[Tensor], list[int], ProcessGroup | None]:
    """Return the checked views, each rank's number of samples, and the process group.

    Raises:
        TypeError: If a view or ``process_group`` has the wrong type.
        ValueError: As in :func:`check_views`; if a rank's batch is empty, on all ranks alike; or if ``process_group``
            is given but ``gather_distributed`` is False.
    """
    check_gather_distributed(gather_distributed)
    if process_group is not None and not gather_distributed:
        raise ValueError("process_group is given, but gather_distributed is False: set it to True, or give no group.")
    group = resolve_group(process_group)
    if gather_distributed and world_size(group) > 1:
        views = check_views(z_views, minimum=0)
        return views, batch_sizes(len(views[0]), "z_views", group), group
    views = check_views(z_views)
    return views, [len(views[0])], group


def check_views(z_views: Sequence[Tensor] | Tensor, *, minimum: int = 2) -> list[Tensor]:
    """Check the views and convert them to the precision that the losses compute in.

    Args:
        z_views: Two or more tensors ``(N, D)`` of one shape, on one device, of any floating dtype.
        minimum: Minimum number of samples. With several ranks it is 0, and
            :func:`~imsvd_plugins.distributed.batch_sizes` refuses an empty batch on all ranks: an error on one rank
            alone would leave the others waiting.

    Returns:
        The views in float64 if any of them is, else in float32.

    Raises:
        TypeError: If a view is not a floating-point tensor.
        ValueError: If there are fewer than two views, if their shapes or devices differ, or if the batch is too small.
    """
    if isinstance(z_views, Tensor) and z_views.ndim != 3:
        raise ValueError(
            f"z_views must be two or more tensors (N, D) or one (V, N, D), got one of shape {tuple(z_views.shape)}."
        )
    views = list(z_views)
    if len(views) < 2:
        raise ValueError(f"z_views must hold at least two views of the batch, got {len(views)}.")
    for index, z in enumerate(views):
        check_matrix(f"z_views[{index}]", z)
        if z.shape != views[0].shape:
            raise ValueError(
                f"all views must have one shape (N, D), got z_views[0] {tuple(views[0].shape)} "
                f"and z_views[{index}] {tuple(z.shape)}."
            )
        if z.device != views[0].device:
            raise ValueError(
                f"all views must be on one device, got z_views[0] on {views[0].device} "
                f"and z_views[{index}] on {z.device}."
            )
    if len(views[0]) < minimum:
        raise ValueError(
            f"z_views must hold N >= {minimum} samples, got N = {len(views[0])}: "
            "the objective is a statistic of the batch."
        )
    dtype = torch.float64 if any(z.dtype == torch.float64 for z in views) else torch.float32
    return [z.to(dtype) for z in views]


def full_precision(z: Tensor) -> AbstractContextManager[None]:
    """Disable autocast on the device of ``z``: in half precision the smallest probabilities vanish."""
    # The meta device has no autocast.
    return nullcontext() if z.is_meta else torch.autocast(z.device.type, enabled=False)


def check_matrix(name: str, z: Tensor) -> None:
    """Refuse anything but a floating-point tensor ``(N, D)``."""
    if not isinstance(z, Tensor):
        raise TypeError(f"{name} must be a tensor (N, D), got {type(z).__name__}.")
    if not z.is_floating_point():
        raise TypeError(f"{name} must have a floating dtype, got {z.dtype}.")
    if z.ndim != 2 or z.shape[1] == 0:
        raise ValueError(f"{name} must have the shape (N, D) with D > 0, got {tuple(z.shape)}.")
