"""SSL-HSIC: dependence between representations and image identity (Li et al., NeurIPS 2021, arXiv 2106.08320)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from imsvd_plugins.checks import check_non_negative, check_positive
from imsvd_plugins.distributed import GroupOrMesh, ProcessGroup, all_gather, all_reduce_sum
from imsvd_plugins.functional._checks import check_views, full_precision, global_batch
from imsvd_plugins.functional.kernels import Kernel
from imsvd_plugins.functional.random_features import RandomFeatures


class HSICTerms(NamedTuple):
    """The objective and its terms, all scalars. Only ``loss`` carries a gradient; the terms are unweighted.

    Attributes:
        loss: ``gamma * sqrt(hsic_zz) - hsic_zy``.
        hsic_zy: Dependence of the representations on the image identity. It includes each view's product with itself,
            so with ``V`` views and a kernel with ``k(z, z) = 1`` it is ``1 / (V - 1)`` at collapse, not 0.
        hsic_zz: Dependence of the representations on themselves, the regulariser; 0 at collapse.
        scale: Scale of the kernel at which the terms were computed.
    """

    loss: Tensor
    hsic_zy: Tensor
    hsic_zz: Tensor
    scale: Tensor


def ssl_hsic_loss(
    z_views: Sequence[Tensor] | Tensor,
    features_zy: RandomFeatures,
    features_zz: RandomFeatures,
    *,
    scale: float | Tensor = 1.0,
    gamma: float = 3.0,
    gather_distributed: bool = False,
    process_group: GroupOrMesh | None = None,
) -> HSICTerms:
    r"""The SSL-HSIC objective for two or more views of a batch, estimated with random features.

    .. math::
        \text{loss} = \gamma \sqrt{\mathrm{HSIC}(Z, Z)} - \mathrm{HSIC}(Z, Y)

    The estimators are those of the paper's section 3.2; ``Y`` is the image identity. The cost is linear in ``N``. Ranks
    exchange only sums of shape ``(F,)`` and ``(F, F)``. The loss is computed in float32 (float64 for float64 inputs),
    also inside autocast.

    Args:
        z_views: ``V >= 2`` sets of vectors ``(N, d)``, usually of length 1, any floating dtype.
        features_zy: The draw for HSIC(Z, Y); HSIC(Z, Z) uses it as its second draw.
        features_zz: The first draw for HSIC(Z, Z), independent of ``features_zy``.
        scale: Scale ``c > 0`` of the kernel; not differentiated.
        gamma: Weight of the regulariser, >= 0.
        gather_distributed: Whether to use the global batch of all ranks. Every rank then returns the global batch's
            value, and the gradient after DDP's averaging is that of a single process. Both draws must be the same on
            all ranks; the ranks' batches may differ in size.
        process_group: The ranks to gather from, the same as DDP's: a process group or a one-dimensional device mesh.
            None for the default group.

    Returns:
        The loss and its terms.

    Raises:
        TypeError: If a view has no floating dtype, or a setting has the wrong type.
        ValueError: If there are fewer than two views, if their shapes differ, if a setting is out of range, or, on all
            ranks, if a rank's batch is empty.
    """
    check_non_negative("gamma", gamma)
    views, sizes, group = global_batch(z_views, gather_distributed, process_group)
    z = torch.stack(views)
    _check_draw("features_zy", features_zy, z.shape[-1])
    _check_draw("features_zz", features_zz, z.shape[-1])
    with full_precision(z):
        scale = _as_scale(scale, z)
        # Called through the class, because the compiler of torch 2.6 does not call a named tuple.
        phi_zy, phi_zz = (RandomFeatures.__call__(draw, z, scale) for draw in (features_zy, features_zz))
        return _from_features(phi_zy, phi_zz, scale, gamma, sizes, group)


def ssl_hsic_linear_loss(
    z_views: Sequence[Tensor] | Tensor,
    *,
    gamma: float = 3.0,
    gather_distributed: bool = False,
    process_group: GroupOrMesh | None = None,
) -> HSICTerms:
    """:func:`ssl_hsic_loss` for the linear kernel. It is exact, because the feature map is ``z`` itself."""
    check_non_negative("gamma", gamma)
    views, sizes, group = global_batch(z_views, gather_distributed, process_group)
    z = torch.stack(views)
    with full_precision(z):
        return _from_features(z, z, z.new_ones(()), gamma, sizes, group)


def ssl_hsic_gram_loss(
    z_views: Sequence[Tensor] | Tensor,
    kernel: Kernel,
    *,
    scale: float | Tensor = 1.0,
    gamma: float = 3.0,
    gather_distributed: bool = False,
    process_group: GroupOrMesh | None = None,
) -> HSICTerms:
    """Exact :func:`ssl_hsic_loss` from the Gram matrix, for kernels without a spectrum. The cost is quadratic in ``N``.

    Ranks gather the vectors themselves, so every rank needs the same ``N``.
    """
    check_non_negative("gamma", gamma)
    views, sizes, group = global_batch(z_views, gather_distributed, process_group)
    z = torch.stack(views)
    with full_precision(z):
        scale = _as_scale(scale, z)
        if len(sizes) > 1:
            z = all_gather(z.transpose(0, 1), "z_views", group).transpose(0, 1)
        gram = _gram(z, kernel, scale)
        hsic_zy, root_zz = _zy_from_gram(gram, len(z)), _root_zz_from_gram(gram)
        return HSICTerms(gamma * root_zz - hsic_zy, hsic_zy.detach(), root_zz.detach().square(), scale)


def hsic_exact_zy(z_views: Sequence[Tensor] | Tensor, kernel: Kernel, scale: float | Tensor) -> Tensor:
    """HSIC(Z, Y) from the Gram matrix over all views, O(N^2): for checks and small data.

    Args:
        z_views: ``V >= 2`` sets of vectors ``(N, d)``, used as they are.
        kernel: The kernel.
        scale: Its scale.

    Returns:
        A scalar. It includes each view's product with itself; for a kernel with ``k(z, z) = 1`` these add
        ``1 / (V - 1)``.
    """
    z = torch.stack(check_views(z_views))
    return _zy_from_gram(_gram(z, kernel, scale), len(z))


def hsic_exact_zz(z_views: Sequence[Tensor] | Tensor, kernel: Kernel, scale: float | Tensor) -> Tensor:
    """The biased estimator ``||H K H||_F^2 / n^2`` of HSIC(Z, Z) over all ``n = N V`` vectors, O(N^2).

    Args:
        z_views: ``V >= 2`` sets of vectors ``(N, d)``, used as they are.
        kernel: The kernel.
        scale: Its scale.

    Returns:
        A scalar >= 0.
    """
    z = torch.stack(check_views(z_views))
    return _root_zz_from_gram(_gram(z, kernel, scale)).square()


def _from_features(
    phi_zy: Tensor, phi_zz: Tensor, scale: Tensor, gamma: float, sizes: list[int], group: ProcessGroup | None
) -> HSICTerms:
    """The objective from two feature maps ``(V, N, F)`` of all views; ``sizes`` are each rank's ``N``."""
    reduce_sum: Callable[[Tensor], Tensor] = partial(all_reduce_sum, group=group) if len(sizes) > 1 else torch.positive
    num_views, _, num_features = phi_zy.shape
    vectors = sum(sizes) * num_views

    per_sample = phi_zy.sum(dim=0)
    sums = torch.cat([per_sample.sum(dim=0), phi_zz.sum(dim=(0, 1)), per_sample.square().sum().view(1)])
    sum_zy, sum_zz, within = torch.split(reduce_sum(sums), [num_features, num_features, 1])

    hsic_zy = within.squeeze() / (vectors * (num_views - 1)) - sum_zy.square().sum() / vectors**2
    # Centred before the product: the difference of two large sums would lose the digits that matter near collapse.
    # Adding the negative mean costs less in the backward pass than subtracting the mean.
    centred_zz = (phi_zz + sum_zz / -vectors).flatten(0, 1)
    centred_zy = (phi_zy + sum_zy / -vectors).flatten(0, 1)
    covariance = reduce_sum(centred_zz.T @ centred_zy) / vectors
    # The norm is the square root of HSIC(Z, Z); its gradient is finite at 0.
    root_zz = torch.linalg.matrix_norm(covariance)
    return HSICTerms(gamma * root_zz - hsic_zy, hsic_zy.detach(), root_zz.detach().square(), scale)


def _check_draw(name: str, draw: RandomFeatures, dim: int) -> None:
    if draw.weight.shape[1] != dim:
        raise ValueError(f"{name} must be drawn for vectors of d = {dim}, got one for d = {draw.weight.shape[1]}.")


def _as_scale(scale: float | Tensor, z: Tensor) -> Tensor:
    if not isinstance(scale, Tensor):
        check_positive("scale", scale)
        return z.new_full((), scale)
    # The value is not checked, because reading it would make the host wait for the device.
    return scale.to(z.device, z.dtype).detach()


def _gram(z: Tensor, kernel: Kernel, scale: float | Tensor) -> Tensor:
    vectors = z.flatten(0, 1)
    return kernel.gram(vectors, vectors, scale)


def _zy_from_gram(gram: Tensor, num_views: int) -> Tensor:
    num_samples = len(gram) // num_views
    same_image = gram.view(num_views, num_samples, num_views, num_samples).diagonal(dim1=1, dim2=3).sum()
    hsic_zy: Tensor = same_image / (len(gram) * (num_views - 1)) - gram.mean()
    return hsic_zy


def _root_zz_from_gram(gram: Tensor) -> Tensor:
    centred = gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()
    root_zz: Tensor = torch.linalg.matrix_norm(centred) / len(gram)
    return root_zz
