"""Kernels for HSIC: their Gram matrices, their spectra, and the gradient by which their scale is learned.

A new kernel is a subclass of :class:`RadialKernel` that implements :meth:`~RadialKernel.evaluate`; everything else has
a default. If it also implements :meth:`~Kernel.sample_frequencies`, the loss uses random features, at a cost linear in
the batch; otherwise it uses the Gram matrix. An entry point in ``pyproject.toml`` gives it a name: see
``docs/how-to/plug-in.md``.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Kernel(ABC):
    """A positive definite kernel of vectors of any dimension ``d`` with a scale ``c > 0``."""

    @abstractmethod
    def gram(self, x: Tensor, y: Tensor, scale: float | Tensor) -> Tensor:
        """Kernel of each row of ``x (n, d)`` with each row of ``y (m, d)``, as ``(n, m)``."""

    def sample_frequencies(
        self,
        num: int,
        dim: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Draw ``num`` rows ``(num, dim)`` from the kernel's spectrum at scale 1 (Bochner's theorem).

        Raises:
            NotImplementedError: If the kernel has no spectrum to draw from.
        """
        raise NotImplementedError(f"{type(self).__name__} has no spectrum to draw random features from.")

    def scale_ascent(self, squared_distance: Tensor, scale: Tensor) -> Tensor:
        """Gradient with respect to ``scale`` of the mean of ``log |dk/d(r^2)|``, which learning the scale maximises.

        Raises:
            NotImplementedError: If the kernel's scale cannot be learned.
        """
        raise NotImplementedError(f"{type(self).__name__} has no scale that can be learned.")

    @property
    def has_spectrum(self) -> bool:
        """Whether random features can be drawn for this kernel."""
        return type(self).sample_frequencies is not Kernel.sample_frequencies

    @property
    def has_scale(self) -> bool:
        """Whether the kernel's scale can be learned."""
        return type(self).scale_ascent is not Kernel.scale_ascent


class RadialKernel(Kernel):
    """A kernel of the Euclidean distance ``r`` alone."""

    @abstractmethod
    def evaluate(self, squared_distance: Tensor, scale: float | Tensor) -> Tensor:
        """Value of the kernel at each ``r^2``; differentiable twice in ``r^2`` and once in ``scale``."""

    def gram(self, x: Tensor, y: Tensor, scale: float | Tensor) -> Tensor:
        """Kernel of each row of ``x (n, d)`` with each row of ``y (m, d)``, as ``(n, m)``."""
        return self.evaluate(squared_distances(x, y), scale)

    def scale_ascent(self, squared_distance: Tensor, scale: Tensor) -> Tensor:
        """Gradient with respect to ``scale`` of the mean of ``log |dk/d(r^2)|``, here by automatic differentiation."""
        with torch.enable_grad():
            scale = scale.detach().requires_grad_()
            squared_distance = squared_distance.detach().requires_grad_()
            value = self.evaluate(squared_distance, scale).sum()
            (slope,) = torch.autograd.grad(value, squared_distance, create_graph=True)
            (gradient,) = torch.autograd.grad(slope.abs().log().mean(), scale)
        return gradient


class GaussianScaleMixtureKernel(RadialKernel):
    """A radial kernel with frequencies ``s * xi``: ``xi`` is standard normal, ``s > 0`` is random for each row."""

    def sample_frequencies(
        self,
        num: int,
        dim: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Draw ``num`` rows ``(num, dim)`` from the kernel's spectrum at scale 1; exact in any dimension."""
        normal = torch.randn(num, dim, generator=generator, device=device, dtype=dtype)
        mixing = torch.randn(num, 1, generator=generator, device=device, dtype=dtype)
        return normal.mul_(self.row_scale(mixing))

    @abstractmethod
    def row_scale(self, normal: Tensor) -> Tensor | float:
        """The scale ``s`` of each row, a function of the absolute value of one standard normal number per row."""


class InverseMultiquadricKernel(GaussianScaleMixtureKernel):
    """Inverse multiquadric kernel, ``c / sqrt(r^2 + c^2)``: the paper's choice (Li et al. 2021, section 4)."""

    def evaluate(self, squared_distance: Tensor, scale: float | Tensor) -> Tensor:
        """Value of the kernel at each ``r^2``."""
        return scale * (squared_distance + scale**2).rsqrt()

    def scale_ascent(self, squared_distance: Tensor, scale: Tensor) -> Tensor:
        """Gradient with respect to ``scale`` of the mean of ``log |dk/d(r^2)|``."""
        return 1 / scale - 3 * scale * (squared_distance + scale**2).reciprocal().mean()

    def row_scale(self, normal: Tensor) -> Tensor:
        """``|g|``, because ``E_g exp(-g^2 r^2 / 2) = (1 + r^2)^(-1/2)``."""
        return normal.abs()


class GaussianKernel(GaussianScaleMixtureKernel):
    """Gaussian kernel, ``exp(-r^2 / (2 c^2))``."""

    def evaluate(self, squared_distance: Tensor, scale: float | Tensor) -> Tensor:
        """Value of the kernel at each ``r^2``."""
        return (squared_distance / (-2 * scale**2)).exp()

    def scale_ascent(self, squared_distance: Tensor, scale: Tensor) -> Tensor:
        """Gradient with respect to ``scale`` of the mean of ``log |dk/d(r^2)|``."""
        return squared_distance.mean() / scale**3 - 2 / scale

    def row_scale(self, normal: Tensor) -> float:
        """1: the spectrum is itself Gaussian."""
        return 1.0


class LaplacianKernel(GaussianScaleMixtureKernel):
    """Laplacian kernel, ``exp(-r / c)``."""

    def evaluate(self, squared_distance: Tensor, scale: float | Tensor) -> Tensor:
        """Value of the kernel at each ``r^2``; at 0 its slope is infinite, and the gradient is set to 0."""
        apart = squared_distance > 0
        distance = torch.where(apart, squared_distance, 1.0).sqrt()
        return (torch.where(apart, distance, 0.0) / (-scale)).exp()

    def scale_ascent(self, squared_distance: Tensor, scale: Tensor) -> Tensor:
        """Gradient with respect to ``scale`` of the mean of ``log |dk/d(r^2)|``."""
        return squared_distance.sqrt().mean() / scale**2 - 1 / scale

    def row_scale(self, normal: Tensor) -> Tensor:
        """``1 / |g|``, which makes the spectrum multivariate Cauchy."""
        # Zero is drawn about once in 10^7 and would make the whole row infinite.
        return normal.abs().clamp(min=1e-7).reciprocal()


class LinearKernel(Kernel):
    """Linear kernel, the inner product. Its feature map is ``z`` itself, exactly, and it has no scale."""

    def gram(self, x: Tensor, y: Tensor, scale: float | Tensor) -> Tensor:
        """Inner product of each row of ``x (n, d)`` with each row of ``y (m, d)``, as ``(n, m)``."""
        return x @ y.T


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances of the rows of ``x (n, d)`` and ``y (m, d)``, as ``(n, m)``, at least 0."""
    squares = x.square().sum(dim=1, keepdim=True) + y.square().sum(dim=1)
    return torch.addmm(squares, x, y.T, alpha=-2).clamp(min=0)
