"""Random Fourier features: they approximate a kernel by an inner product of finitely many random waves."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from imsvd_plugins.checks import check_integer
from imsvd_plugins.functional.kernels import GaussianScaleMixtureKernel, Kernel, RadialKernel

FEATURES = ("rff", "orf")


class RandomFeatures(NamedTuple):
    r"""One draw of ``F`` random Fourier features for kernels at scale 1.

    .. math::
        \varphi(z) = \sqrt{2 / F}\, \cos(W z / c + b) \quad\text{or}\quad
        \varphi(z) = \sqrt{2 / F}\, [\cos(W z / c), \sin(W z / c)], \qquad
        \mathbb{E}\, \varphi(x) \cdot \varphi(y) = k(x, y)

    Attributes:
        weight: Frequencies ``W``: ``(F, d)`` with a phase, ``(F/2, d)`` without.
        phase: Phases ``b (F,)`` in [0, 2 pi); None for pairs of cosine and sine, whose ``phi . phi`` is 1 exactly.
    """

    weight: Tensor
    phase: Tensor | None

    def __call__(self, z: Tensor, scale: float | Tensor = 1.0) -> Tensor:
        """Features ``(..., F)`` of vectors ``z (..., d)`` for the kernel of scale ``c``."""
        # The smaller factor of W z is scaled.
        z, weight = (z / scale, self.weight) if z.numel() < self.weight.numel() else (z, self.weight / scale)
        # Cosines are computed as shifted sines, whose derivative costs one pass less.
        if self.phase is not None:
            return linear(z, weight, self.phase + math.pi / 2).sin().mul_(math.sqrt(2 / len(weight)))
        angles = linear(z, weight)
        return torch.cat([angles + math.pi / 2, angles], dim=-1).sin().mul_(math.sqrt(1 / len(weight)))


def sample_random_features(
    kernel: Kernel,
    num_features: int,
    dim: int,
    *,
    features: str = "rff",
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> RandomFeatures:
    """Draw random features of a kernel.

    ``"orf"`` has the same mean as ``"rff"`` and a lower variance, for three reasons: pairs of cosine and sine;
    frequencies that are orthogonal in blocks of ``d`` (Yu et al. 2016), with independently drawn lengths; and, if the
    kernel is a scale mixture of Gaussians, a mixing variable that is stratified over its quantiles.

    Args:
        kernel: A kernel with a spectrum; for "orf" a radial one.
        num_features: Number of features ``F``; for "orf" an even one.
        dim: Dimension ``d`` of the vectors.
        features: "rff": independent frequencies and phases, as in the paper (Rahimi and Recht 2007); or "orf".
        generator: Source of randomness. Numbers are drawn on its device and then moved, so a CPU generator gives the
            same draw on every device and rank.
        device: Device of the draw.
        dtype: Floating dtype of the draw.

    Returns:
        The draw, at scale 1.

    Raises:
        TypeError: If ``num_features`` is not an integer.
        ValueError: If the kernel has no spectrum or does not suit ``features``, or a setting is out of range.

    Example:
        >>> import torch
        >>> from imsvd_plugins.functional.kernels import GaussianKernel
        >>> draw = sample_random_features(GaussianKernel(), 512, 8, generator=torch.Generator().manual_seed(0))
        >>> draw(torch.zeros(4, 8), scale=2.0).shape
        torch.Size([4, 512])
    """
    check_integer("num_features", num_features, minimum=1)
    check_features(features, num_features)
    if not kernel.has_spectrum:
        raise ValueError(f"kernel: {type(kernel).__name__} has no spectrum to draw random features from.")
    source = torch.empty(0, dtype=dtype, device=device if generator is None else generator.device)
    if features == "orf":
        return RandomFeatures(_move(_orthogonal(kernel, num_features // 2, dim, generator, source), device), None)
    weight = kernel.sample_frequencies(num_features, dim, generator=generator, device=source.device, dtype=source.dtype)
    phase = 2 * math.pi * torch.empty_like(weight[:, 0]).uniform_(generator=generator)
    return RandomFeatures(_move(weight, device), _move(phase, device))


def check_features(features: str, num_features: int) -> None:
    """Refuse an unknown kind of random features, or a number of them that does not suit it."""
    if features not in FEATURES:
        raise ValueError(f"features must be one of {', '.join(map(repr, FEATURES))}, got {features!r}.")
    if features == "orf" and num_features % 2:
        raise ValueError(f'num_features must be even with features="orf", got {num_features}.')


def _orthogonal(kernel: Kernel, num: int, dim: int, generator: torch.Generator | None, source: Tensor) -> Tensor:
    """Frequencies ``(num, dim)`` in orthogonal directions, with the dtype and device of ``source``."""
    if not isinstance(kernel, RadialKernel):
        raise ValueError(f'features="orf" needs a radial kernel, got {type(kernel).__name__}.')
    settings: dict[str, Any] = {"device": source.device, "dtype": source.dtype}
    if isinstance(kernel, GaussianScaleMixtureKernel):
        lengths = torch.randn(num, dim, generator=generator, **settings).norm(dim=1)
        strata = torch.randperm(num, generator=generator, device=source.device)
        quantiles = (strata + torch.rand(num, generator=generator, **settings)) / num
        # |g| at the quantile of a standard normal g; at 1 it would be infinite.
        lengths = lengths * kernel.row_scale(math.sqrt(2) * torch.erfinv(quantiles.clamp(max=1 - 1e-7)))
    else:
        lengths = kernel.sample_frequencies(num, dim, generator=generator, **settings).norm(dim=1)
    blocks = torch.randn(-(-num // dim), dim, min(num, dim), generator=generator, **settings)
    # The columns of Q have uniform directions up to their signs, which do not matter for the features.
    directions = torch.linalg.qr(blocks).Q.mT.reshape(-1, dim)[:num]
    frequencies: Tensor = lengths.unsqueeze(1) * directions
    return frequencies


def _move(x: Tensor, device: torch.device | str | None) -> Tensor:
    if device is None or torch.device(device) == x.device:
        return x
    if torch.device(device).type == "cuda":
        # A copy from unpinned memory would make the host wait for the device.
        x = x.pin_memory()
    return x.to(device, non_blocking=True)
