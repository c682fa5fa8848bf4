"""The IMSVD loss as a module."""

from torch import Tensor

from imsvd_plugins import functional as F
from imsvd_plugins.distributed import GroupOrMesh
from imsvd_plugins.functional._checks import check_integer, check_non_negative, check_positive
from imsvd_plugins.losses.gathering import GatheringLoss


class IMSVDLoss(GatheringLoss):
    """IMSVD: Information-Maximized Soft Variable Discretization (Niu et al. 2025, arXiv 2501.03469).

    Args:
        num_bins: Bins ``K`` of a variable, at least 2; must divide the projector's output dimension. The paper's: 80
            for ImageNet, 32 for CIFAR-10.
        temperature: Temperature of the softmax over the bins, > 0.
        diagonal_weight: Weight of the diagonal term, >= 0.
        off_diagonal_weight: Weight of the off-diagonal term, >= 0.
        invariance_weight: Weight of the invariance term, >= 0.
        gather_distributed: Whether the joint distribution is the one of all ranks' batches.
        process_group: The ranks that gather, those of DDP: a process group, or a device mesh of one dimension. None for
            the default group. It may be assigned later, as an attribute, for a model that is built before its group.

    Raises:
        TypeError: If a setting has the wrong type.
        ValueError: If a setting is out of range, or ``gather_distributed`` is True without ``torch.distributed``.

    Example:
        >>> import torch
        >>> criterion = IMSVDLoss(num_bins=4)
        >>> z_a, z_b = torch.randn(2, 16, 32)
        >>> loss = criterion(z_a, z_b)
        >>> criterion.forward_components(z_a, z_b)._fields
        ('loss', 'diagonal', 'off_diagonal', 'invariance')
    """

    def __init__(
        self,
        num_bins: int = 80,
        temperature: float = 1.0,
        diagonal_weight: float = 1.0,
        off_diagonal_weight: float = 1.0,
        invariance_weight: float = 1.0,
        gather_distributed: bool = False,
        process_group: GroupOrMesh | None = None,
    ) -> None:
        super().__init__(gather_distributed, process_group)
        check_integer("num_bins", num_bins, minimum=2)
        check_positive("temperature", temperature)
        check_non_negative("diagonal_weight", diagonal_weight)
        check_non_negative("off_diagonal_weight", off_diagonal_weight)
        check_non_negative("invariance_weight", invariance_weight)
        self.num_bins = num_bins
        self.temperature = temperature
        self.diagonal_weight = diagonal_weight
        self.off_diagonal_weight = off_diagonal_weight
        self.invariance_weight = invariance_weight

    def forward(self, z_a: Tensor, z_b: Tensor, *more_views: Tensor) -> Tensor:
        """The loss of two projector outputs ``(N, D)``, a scalar; see :func:`~imsvd_plugins.functional.imsvd_loss`."""
        return self.forward_components(z_a, z_b, *more_views).loss

    def forward_components(self, z_a: Tensor, z_b: Tensor, *more_views: Tensor) -> F.IMSVDTerms:
        """The loss and its unweighted, detached terms, for logging."""
        return F.imsvd_loss(
            (z_a, z_b, *more_views),
            self.num_bins,
            temperature=self.temperature,
            diagonal_weight=self.diagonal_weight,
            off_diagonal_weight=self.off_diagonal_weight,
            invariance_weight=self.invariance_weight,
            gather_distributed=self.gather_distributed,
            process_group=self.process_group,
        )

    def extra_repr(self) -> str:
        """Settings as shown by ``print(model)``."""
        return (
            f"num_bins={self.num_bins}, temperature={self.temperature}, diagonal_weight={self.diagonal_weight}, "
            f"off_diagonal_weight={self.off_diagonal_weight}, invariance_weight={self.invariance_weight}, "
            f"gather_distributed={self.gather_distributed}"
        )
