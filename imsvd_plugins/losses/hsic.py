"""The SSL-HSIC loss as a module: the kernel, its random features and its learned scale."""

import torch
from torch import Tensor, nn

from imsvd_plugins import functional as F
from imsvd_plugins import plugins
from imsvd_plugins.functional._checks import (
    check_boolean,
    check_gather_distributed,
    check_integer,
    check_non_negative,
    check_views,
)
from imsvd_plugins.functional.kernels import Kernel, LinearKernel
from imsvd_plugins.functional.random_features import check_features
from imsvd_plugins.losses.learned_scale import LearnedScale


class HSICLoss(nn.Module):
    """SSL-HSIC: dependence between representations and image identity (Li et al., NeurIPS 2021, arXiv 2106.08320).

    Every training forward draws new random features, the same for all views and on all ranks, and then moves the
    kernel's scale one Adam step. The scale and the number of draws are in the module's ``state_dict``: save and
    restore it with your model, or a resumed run sees other draws than the uninterrupted one. In evaluation mode the
    state does not change.

    Args:
        kernel: Name of a kernel ("imq", "gaussian", "laplacian", "linear" or an installed plug-in's), or a kernel
            object.
        num_features: Number of random features ``F``. Unused by "linear" and by kernels without a spectrum, which are
            exact.
        features: Kind of random features: "rff", the paper's, or "orf", of lower variance.
        gamma: Weight of the regulariser ``sqrt(HSIC(Z, Z))``, >= 0.
        learn_scale: Whether the kernel's scale is learned. "linear" has none.
        normalize: Whether to scale the vectors to length 1 first, as the method asks.
        seed: Seed of the draws, >= 0; the same on all ranks.
        gather_distributed: Whether the statistics are those of all ranks' batches.

    Raises:
        TypeError: If a setting has the wrong type.
        ValueError: If a setting is out of range or the kernel is unknown, or ``gather_distributed`` is True without
            ``torch.distributed``.

    Example:
        >>> import torch
        >>> criterion = HSICLoss(num_features=64)
        >>> z_a, z_b = torch.randn(2, 16, 32)
        >>> loss = criterion(z_a, z_b)
        >>> criterion.forward_components(z_a, z_b)._fields
        ('loss', 'hsic_zy', 'hsic_zz', 'scale')
    """

    def __init__(
        self,
        kernel: str | Kernel = "imq",
        num_features: int = 512,
        features: str = "rff",
        gamma: float = 3.0,
        learn_scale: bool = True,
        normalize: bool = True,
        seed: int = 0,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        check_integer("num_features", num_features, minimum=1)
        check_features(features, num_features)
        check_non_negative("gamma", gamma)
        check_boolean("learn_scale", learn_scale)
        check_boolean("normalize", normalize)
        check_integer("seed", seed, minimum=0)
        check_gather_distributed(gather_distributed)
        self.kernel = _resolve_kernel(kernel)
        self.num_features = num_features
        self.features = features
        self.gamma = gamma
        self.learn_scale = learn_scale
        self.normalize = normalize
        self.seed = seed
        self.gather_distributed = gather_distributed
        self.learned_scale = LearnedScale()
        self._draws = 0

    def reset_parameters(self) -> None:
        """Return to the initial state: scale 1, no draws."""
        self.learned_scale.reset_parameters()
        self._draws = 0

    @property
    def scale(self) -> Tensor:
        """Scale ``c`` of the kernel that the next forward uses, a scalar."""
        return self.learned_scale.value

    def forward(self, *z_views: Tensor) -> Tensor:
        """The loss of ``V >= 2`` sets of vectors ``(N, d)``, a scalar; see :func:`~functional.ssl_hsic_loss`."""
        return self.forward_components(*z_views).loss

    def forward_components(self, *z_views: Tensor) -> F.HSICTerms:
        """The loss and its unweighted, detached terms, for logging."""
        views = check_views(z_views, gather_distributed=self.gather_distributed)
        z = torch.stack(views)
        if self.scale.device != z.device:
            # A loss that was never moved follows its inputs, as one without state would.
            self.to(z.device)
        with torch.autocast(z.device.type, enabled=False):
            if self.normalize:
                z = _unit_vectors(z)
            generator = self._generator()
            terms = self._terms(z, generator)
            if self.training:
                self._draws += 1
                if self.learn_scale and self.kernel.has_scale:
                    self.learned_scale.climb(
                        self.kernel, z.detach().flatten(0, 1), generator, gather_distributed=self.gather_distributed
                    )
        return terms

    def _terms(self, z: Tensor, generator: torch.Generator) -> F.HSICTerms:
        # A copy, because the backward pass must still see this scale after the step that follows the forward pass.
        scale = self.scale.to(z.dtype, copy=True)
        if isinstance(self.kernel, LinearKernel):
            return F.ssl_hsic_linear_loss(z, gamma=self.gamma, gather_distributed=self.gather_distributed)
        if not self.kernel.has_spectrum:
            return F.ssl_hsic_gram_loss(
                z, self.kernel, scale=scale, gamma=self.gamma, gather_distributed=self.gather_distributed
            )
        features_zy, features_zz = (
            F.sample_random_features(
                self.kernel,
                self.num_features,
                z.shape[-1],
                features=self.features,
                generator=generator,
                device=z.device,
                dtype=z.dtype,
            )
            for _ in range(2)
        )
        return F.ssl_hsic_loss(
            z, features_zy, features_zz, scale=scale, gamma=self.gamma, gather_distributed=self.gather_distributed
        )

    def _generator(self) -> torch.Generator:
        """The source of this step's draws: a function of the seed and the step alone, so equal on all ranks."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + self._draws)

    def get_extra_state(self) -> Tensor:
        """The number of draws so far; a tensor, because the hosts' checkpoint code expects tensors."""
        return torch.tensor(self._draws)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on with the draws of a saved loss."""
        self._draws = int(state)

    def extra_repr(self) -> str:
        """Settings as shown by ``print(model)``."""
        return (
            f"kernel={type(self.kernel).__name__}, num_features={self.num_features}, features={self.features!r}, "
            f"gamma={self.gamma}, learn_scale={self.learn_scale}, normalize={self.normalize}, seed={self.seed}, "
            f"gather_distributed={self.gather_distributed}"
        )


def _unit_vectors(z: Tensor) -> Tensor:
    """Vectors of length 1; one of length 0 stays as it is, with a gradient that half precision can hold."""
    length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return z / torch.where(length > 0, length, 1.0)


def _resolve_kernel(kernel: str | Kernel) -> Kernel:
    if isinstance(kernel, str):
        try:
            make = plugins.load("kernels", kernel)
        except ValueError as error:
            raise ValueError(f"kernel: {error}") from None
        kernel = make()
    if not isinstance(kernel, Kernel):
        came = (
            f"the class {kernel.__name__}" if isinstance(kernel, type) else f"an object of type {type(kernel).__name__}"
        )
        raise TypeError(
            f"kernel must be a name or an object with the interface of functional.kernels.Kernel, got {came}."
        )
    return kernel
