"""Label-free metrics of a representation: is it spread out, are the views alike, do the variables share information?"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from imsvd_plugins.functional._checks import check_matrix, check_views
from imsvd_plugins.functional.discretization import check_num_bins, discretize
from imsvd_plugins.functional.joint_entropy import joint_entropy
from imsvd_plugins.functional.kernels import squared_distances

# Thresholds beyond which a representation has collapsed, whatever the data: two directions, a distance of 1/20 of the
# sphere's radius, a tenth of a variable's maximal entropy.
_COLLAPSED_RANKME = 2.0
_COLLAPSED_UNIFORMITY = -0.005
_COLLAPSED_ENTROPY = 0.1


# For the log: each metric's meaning, range and value at collapse.
MEANINGS = {
    "rankme": "effective rank of the backbone's features, 1 to min(images, dimensions): high is good, 1 is collapse",
    "alignment": "squared distance of two views' projections, 0 to 4: low is good if uniformity is low too",
    "uniformity": "how evenly the projections spread over the sphere, about -4 to 0: low is good, 0 is collapse",
    "variable_entropy": "entropy of a variable / log K, 0 to 1: high is good, 0 is collapse",
    "least_variable_entropy": "the same of the variable with the least",
    "joint_entropy": "joint entropy of two variables / min(2 log K, log images), the most that one-hot codes can have, "
    "so soft codes may exceed 1: high is good, 0 is collapse",
    "mutual_information": "what two variables say twice, 0 to log K nats: low is good if the entropies are high",
    "unused_bins": "share of the bins that are no image's most probable one, 0 to 1: low is good, 1 - 1/K is collapse",
}


class VariableMetrics(NamedTuple):
    """Metrics of IMSVD's latent variables, see :func:`variable_metrics`.

    Attributes:
        variable_entropy: Mean entropy of a variable, as a share of log K: 1 if every variable uses its bins equally, 0
            if each uses a single bin.
        least_variable_entropy: The same for the variable with the lowest entropy.
        joint_entropy: Mean joint entropy of two variables, as a share of min(2 log K, log N), the maximum for one-hot
            codes of N samples; soft codes may exceed 1.
        mutual_information: Mean mutual information of two variables in nats, 0 to log K: their redundancy.
        unused_bins: Share of bins that are not the most probable bin of any sample.
    """

    variable_entropy: float
    least_variable_entropy: float
    joint_entropy: float
    mutual_information: float
    unused_bins: float


@torch.no_grad()
def variable_metrics(z_a: Tensor, z_b: Tensor, num_bins: int, temperature: float = 1.0) -> VariableMetrics:
    r"""Measure how well two views' projections use their ``M`` latent variables of ``K`` bins (Niu et al. 2025).

    With the joint distribution ``P`` of :func:`~imsvd_plugins.functional.imsvd_loss` and each view's own marginals, the
    mutual information of two variables is ``H_m + H_m' - H_mm'``.

    Args:
        z_a: Projector output ``(N, D)`` of one view.
        z_b: Projector output ``(N, D)`` of the other view.
        num_bins: Bins ``K`` of a variable; must divide ``D``.
        temperature: Temperature of the softmax over the bins.

    Returns:
        The metrics; those of pairs of variables are 0 if there is only one variable.

    Raises:
        TypeError: If a view has no floating dtype.
        ValueError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> codes = 100 * torch.eye(4).repeat(2, 2)  # two variables that say the same
        >>> metrics = variable_metrics(codes, codes, num_bins=4)
        >>> [round(metric, 2) for metric in metrics]  # mutual information log 4, ceiling log 8
        [1.0, 1.0, 0.67, 1.39, 0.0]
    """
    z_a, z_b = check_views([z_a, z_b])
    check_num_bins(num_bins, z_a.shape[1])
    p_a, p_b = discretize([z_a, z_b], num_bins, temperature)
    num_samples, num_variables = p_a.shape[:2]
    entropies = torch.stack([_entropy(p.mean(dim=0)) for p in (p_a, p_b)])
    used = torch.stack([one_hot(p.argmax(dim=-1), num_bins).amax(dim=0) for p in (p_a, p_b)]).amax(dim=0)
    joint, shared = 0.0, 0.0
    if num_variables > 1:
        flat_a, flat_b = p_a.flatten(1), p_b.flatten(1)
        joint = -float(joint_entropy(flat_a, flat_b, num_bins, num_samples, 0, 0, grad_b=None).off_diagonal)
        shared = float((entropies.mean(dim=1).sum() - joint).clamp(min=0))  # rounding may make it negative
    return VariableMetrics(
        variable_entropy=float(entropies.mean()) / math.log(num_bins),
        least_variable_entropy=float(entropies.mean(dim=0).min()) / math.log(num_bins),
        joint_entropy=joint / max(min(2 * math.log(num_bins), math.log(num_samples)), math.log(2)),
        mutual_information=shared,
        unused_bins=1 - float(used.float().mean()),
    )


@torch.no_grad()
def rankme(features: Tensor) -> float:
    """Effective rank of features ``(N, d)``: the exponential of the entropy of their normalized singular values.

    It lies between 1 and ``min(N, d)``; at small ``N`` it depends more on ``N`` than on the features (Garrido et al.
    2023, arXiv 2210.02885, equation 1; Roy and Vetterli 2007). NaN if a feature is not finite.

    Raises:
        TypeError: If the features have no floating dtype.
        ValueError: If they have another shape.
    """
    check_matrix("features", features)
    if not features.isfinite().all():
        return math.nan
    singular_values = torch.linalg.svdvals(features if features.dtype == torch.float64 else features.float())
    # Features that are all zero get the rank 1.
    shares = singular_values / singular_values.sum().clamp(min=torch.finfo(singular_values.dtype).tiny)
    return math.exp(float(_entropy(shares)))


@torch.no_grad()
def alignment(z_a: Tensor, z_b: Tensor) -> float:
    """Mean squared distance of two views' normalized vectors ``(N, d)``, 0 to 4.

    It is small if the views of an image are alike (Wang and Isola 2020, arXiv 2005.10242).

    Raises:
        TypeError: If a view has no floating dtype.
        ValueError: If the shapes do not fit.
    """
    z_a, z_b = check_views([z_a, z_b])
    return float((normalize(z_a, dim=1) - normalize(z_b, dim=1)).square().sum(dim=1).mean())


@torch.no_grad()
def uniformity(z: Tensor) -> float:
    """Logarithm of the mean of ``exp(-2 r^2)`` over the pairs of normalized vectors ``(N, d)``, N >= 2.

    It ranges from -4 or less (spread over the sphere) to 0 (all vectors equal) (Wang and Isola 2020, arXiv 2005.10242).

    Raises:
        TypeError: If the vectors have no floating dtype.
        ValueError: If they have another shape or there are fewer than two.
    """
    check_matrix("z", z)
    if len(z) < 2:
        raise ValueError(f"z must hold at least two vectors, got {len(z)}.")
    z = normalize(z if z.dtype == torch.float64 else z.float(), dim=1)
    total = z.new_zeros(())
    for start in range(0, len(z), 1024):
        rows = z[start : start + 1024]
        # The total has each pair twice, and each vector with itself once.
        total += squared_distances(rows, z).mul_(-2).exp_().sum()
    pairs = len(z) * (len(z) - 1)
    return float(((total - len(z)) / pairs).log())


def representation_metrics(
    features: Tensor, z_a: Tensor, z_b: Tensor, num_bins: int | None = None, temperature: float = 1.0
) -> dict[str, float]:
    """All metrics of a representation, by name.

    Args:
        features: The backbone's features ``(N, d)`` of one view.
        z_a: Projector output ``(N, D)`` of that view.
        z_b: Projector output ``(N, D)`` of another view.
        num_bins: Bins ``K`` of IMSVD's latent variables; None if the projector's outputs are not variables.
        temperature: Temperature of IMSVD's softmax.

    Returns:
        ``rankme`` of the features, ``alignment`` and ``uniformity`` of the projections and, with ``num_bins``, the
        entries of :class:`VariableMetrics`.
    """
    metrics = {"rankme": rankme(features), "alignment": alignment(z_a, z_b), "uniformity": uniformity(z_a)}
    if num_bins is not None:
        metrics |= variable_metrics(z_a, z_b, num_bins, temperature)._asdict()
    return metrics


def collapse_warnings(metrics: dict[str, float]) -> list[str]:
    """Return a phrase for each metric of :func:`representation_metrics` that shows a collapse."""
    signs = []
    if undefined := [name for name, value in metrics.items() if math.isnan(value)]:
        signs.append(f"{', '.join(undefined)} not a number: the training has diverged")
    if metrics["rankme"] < _COLLAPSED_RANKME:
        signs.append(f"rankme is {metrics['rankme']:.2f}: the features lie along fewer than two directions")
    if metrics["uniformity"] > _COLLAPSED_UNIFORMITY:
        signs.append(f"uniformity is {metrics['uniformity']:.4f}: all projections point the same way")
    if metrics.get("variable_entropy", 1.0) < _COLLAPSED_ENTROPY:
        signs.append(f"variable_entropy is {metrics['variable_entropy']:.3f} of log K: the variables use a single bin")
    return signs


def _entropy(probabilities: Tensor) -> Tensor:
    """Entropy over the last dimension, in nats."""
    entropy: Tensor = torch.special.entr(probabilities).sum(dim=-1)
    return entropy
