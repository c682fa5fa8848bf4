"""The SSL-HSIC loss as a module: the kernel, its random features and its learned scale."""

import warnings
from typing import Any

import torch
from torch import Tensor

from imsvd_plugins import functional as F
from imsvd_plugins import plugins
from imsvd_plugins.checks import check_boolean, check_integer, check_non_negative
from imsvd_plugins.distributed import GroupOrMesh, batch_sizes, resolve_group, world_size
from imsvd_plugins.functional._checks import check_views, full_precision
from imsvd_plugins.functional.kernels import Kernel, LinearKernel
from imsvd_plugins.functional.random_features import check_features
from imsvd_plugins.losses.gathering import GatheringLoss
from imsvd_plugins.losses.learned_scale import LearnedScale
from imsvd_plugins.losses.recomputation import Forwards, Used


class HSICLoss(GatheringLoss):
    """SSL-HSIC: dependence between representations and image identity (Li et al., NeurIPS 2021, arXiv 2106.08320).

    Every training forward draws new random features, the same for all views and on all ranks, and then updates the
    kernel's scale by one Adam step. The scale and the number of draws are in the module's ``state_dict``. Save and
    restore it with your model; otherwise a resumed run sees other draws than the uninterrupted one. In evaluation mode
    the state does not change.

    Each forward also draws a number from torch's default generator, so that ``torch.utils.checkpoint`` can repeat it
    exactly. ``torch.compile`` leaves the code that changes the state uncompiled, so it cannot take ``fullgraph=True``.

    Args:
        kernel: Name of a kernel ("imq", "gaussian", "laplacian", "linear" or an installed plug-in's), or a kernel
            object.
        num_features: Number of random features ``F``. Unused by "linear" and by kernels without a spectrum, which are
            exact.
        features: Kind of random features: "rff", the paper's, or "orf", which have a lower variance.
        gamma: Weight of the regulariser ``sqrt(HSIC(Z, Z))``, >= 0.
        learn_scale: Whether the kernel's scale is learned. "linear" has none.
        normalize: Whether to scale the vectors to length 1 first, as the method requires.
        seed: Seed of the draws, 0 to 2^64 - 1; the same on all ranks.
        gather_distributed: Whether the statistics are those of all ranks' batches.
        process_group: The ranks to gather from, the same as DDP's: a process group or a one-dimensional device mesh.
            None for the default group. Without gathering, the ranks that learn one scale; None: each learns its own.
            The attribute may be set later, for a model that is built before its group.

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
        process_group: GroupOrMesh | None = None,
    ) -> None:
        super().__init__(gather_distributed, process_group)
        check_integer("num_features", num_features, minimum=1)
        check_features(features, num_features)
        check_non_negative("gamma", gamma)
        check_boolean("learn_scale", learn_scale)
        check_boolean("normalize", normalize)
        check_integer("seed", seed, minimum=0)
        if seed >= 2**64:
            raise ValueError(f"seed must be below 2**64, as torch's generators take it, got {seed}.")
        self.kernel = _resolve_kernel(kernel)
        self.num_features = num_features
        self.features = features
        self.gamma = gamma
        self.learn_scale = learn_scale
        self.normalize = normalize
        self.seed = seed
        self.learned_scale = LearnedScale()
        self._draws = 0
        self._forwards = Forwards()
        self._warned = False

    def reset_parameters(self) -> None:
        """Return to the initial state: scale 1, no draws."""
        self.learned_scale.reset_parameters()
        self._draws = 0
        self._forwards.forget()

    @property
    def scale(self) -> Tensor:
        """Scale ``c`` of the kernel that the next forward uses, a scalar."""
        return self.learned_scale.value

    def forward(self, *z_views: Tensor) -> Tensor:
        """The loss of ``V >= 2`` sets of vectors ``(N, d)``, a scalar.

        See :func:`~imsvd_plugins.functional.ssl_hsic_loss`.
        """
        return self.forward_components(*z_views).loss

    def forward_components(self, *z_views: Tensor) -> F.HSICTerms:
        """The loss and its unweighted, detached terms, for logging."""
        group, shared = resolve_group(self.process_group), self.gather_distributed or self.process_group is not None
        alone = not shared or world_size(group) == 1
        z = torch.stack(check_views(z_views, minimum=2 if alone else 0))
        if not (alone or self.gather_distributed) and self.training:
            # The ranks share only the scale. All check together: an error on one would leave the others waiting.
            sizes = batch_sizes(z.shape[1], "z_views", group)
            if min(sizes) < 2:
                raise ValueError(f"z_views: every rank needs at least two samples, got {sizes}.")
        if self.normalize:
            with full_precision(z):
                z = _unit_vectors(z)
        scale, draws, generator, repeated = self._begin(z)
        terms = self._terms(z, scale, draws)
        # Inputs on the meta device have no values from which to update the state.
        if self.training and not repeated and self.scale.device == z.device:
            self._move_on(z.detach(), generator)
        return terms

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _begin(self, z: Tensor) -> tuple[Tensor, list[F.RandomFeatures], torch.Generator, bool]:
        """This forward's scale, draws and generator, and whether it repeats an earlier forward."""
        if self.training and torch._C._are_functorch_transforms_active():
            raise NotImplementedError(
                "HSICLoss changes its state in training mode, which torch.func's transforms (grad, vmap, jvp) forbid: "
                "call eval() first, or use functional.ssl_hsic_loss."
            )
        if self.scale.device != z.device and not z.is_meta:
            # A loss that was never moved follows its inputs, as a loss without state does.
            self.to(z.device)
        # A copy, because the backward pass must still see this scale after the step that follows the forward pass.
        used, repeated = self._forwards.begin(Used(self._draws, self.scale.clone()))
        # The draws depend only on the seed and the step, so they are equal on all ranks.
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + used.draws) % 2**64)
        draws = [
            F.sample_random_features(
                self.kernel,
                self.num_features,
                z.shape[-1],
                features=self.features,
                generator=generator,
                device=z.device,
                dtype=z.dtype,
            )
            for _ in range(2 if self.kernel.has_spectrum else 0)
        ]
        return used.scale.to(z.device, z.dtype), draws, generator, repeated

    def _terms(self, z: Tensor, scale: Tensor, draws: list[F.RandomFeatures]) -> F.HSICTerms:
        settings: dict[str, Any] = {"gamma": self.gamma, "gather_distributed": self.gather_distributed}
        if self.gather_distributed:
            settings["process_group"] = self.process_group
        if draws:
            return F.ssl_hsic_loss(z, *draws, scale=scale, **settings)
        if isinstance(self.kernel, LinearKernel):
            return F.ssl_hsic_linear_loss(z, **settings)
        return F.ssl_hsic_gram_loss(z, self.kernel, scale=scale, **settings)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _move_on(self, z: Tensor, generator: torch.Generator) -> None:
        """Update the state for the next forward."""
        self._draws += 1
        if not (self.learn_scale and self.kernel.has_scale):
            return
        group, shared = resolve_group(self.process_group), self.gather_distributed or self.process_group is not None
        if not shared and world_size() > 1 and not self._warned:
            self._warned = True
            warnings.warn(
                f"HSICLoss learns the kernel's scale from each of {world_size()} ranks' own batch, so that the ranks' "
                "scales differ and a checkpoint keeps one: pass gather_distributed=True, or "
                "process_group=torch.distributed.group.WORLD to share the scale alone, or learn_scale=False.",
                stacklevel=2,
            )
        with full_precision(z):
            self.learned_scale.ascend(self.kernel, z.flatten(0, 1), generator, shared=shared, group=group)

    def get_extra_state(self) -> Tensor:
        """The number of draws so far; a tensor, because the hosts' checkpoint code expects tensors."""
        return torch.tensor(self._draws)

    def set_extra_state(self, state: Tensor) -> None:
        """Continue with the draws of a saved loss."""
        self._draws = int(state)
        self._forwards.forget()

    def extra_repr(self) -> str:
        """Settings as shown by ``print(model)``."""
        return (
            f"kernel={type(self.kernel).__name__}, num_features={self.num_features}, features={self.features!r}, "
            f"gamma={self.gamma}, learn_scale={self.learn_scale}, normalize={self.normalize}, seed={self.seed}, "
            f"gather_distributed={self.gather_distributed}"
        )


def _unit_vectors(z: Tensor) -> Tensor:
    """Scale vectors to length 1. A zero vector stays as it is, and half precision can hold its gradient."""
    length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return z / torch.where(length > 0, length, 1.0)


def _resolve_kernel(kernel: str | Kernel) -> Kernel:
    if isinstance(kernel, str):
        try:
            return plugins.make_kernel(kernel)
        except ValueError as error:
            raise ValueError(f"kernel: {error}") from None
    if not isinstance(kernel, Kernel):
        came = (
            f"the class {kernel.__name__}" if isinstance(kernel, type) else f"an object of type {type(kernel).__name__}"
        )
        raise TypeError(
            f"kernel must be a name or an object with the interface of functional.kernels.Kernel, got {came}."
        )
    return kernel
