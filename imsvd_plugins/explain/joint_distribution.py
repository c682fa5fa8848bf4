"""A figure of the joint distribution of a few latent variables."""

import math
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

_LEGEND = (
    "Good: blocks of two variables are white (independent), of one with itself blue with a red diagonal.",
    "Two variables say the same: their block is blue with a red line.",
    "Collapse: dark blue with single red rows, columns or cells; most bins are never used.",
)


@torch.no_grad()
def draw_joint_distribution(p_a: Tensor, p_b: Tensor, variables: Sequence[int] = (0, 1, 2, 3)) -> Figure:
    r"""Draw the blocks ``P_mm' = p_a[:, m]^T p_b[:, m'] / N`` of some variables, beside the ideal blocks.

    The colour is ``log2(K^2 P)``. It is white if a pair of bins is as frequent as for two independent variables that
    use their bins equally. IMSVD (Niu et al. 2025, arXiv 2501.03469) aims for this in all blocks but those of a
    variable with itself. In these both views of an image should agree, which gives a diagonal at ``log2 K``. A legend
    below describes good variables and a collapse.

    Args:
        p_a: Probabilities ``(N, M, K)`` of one view, as :func:`~imsvd_plugins.functional.soft_discretize` gives them.
        p_b: Probabilities ``(N, M, K)`` of the other view.
        variables: Indices of the variables.

    Returns:
        A pyplot figure. A program that draws many should close them.

    Raises:
        TypeError: If a view's dtype is not floating point.
        ValueError: If the shapes do not match or a variable does not exist.
    """
    chosen = list(variables)
    _check(p_a, p_b, chosen)
    num_bins = p_a.shape[2]
    rows, columns = (p[:, chosen].flatten(start_dim=1).double() for p in (p_a, p_b))
    frequency = rows.T @ columns * (num_bins**2 / len(rows))
    # A frequency of 0 has no logarithm; the scale ends at the frequency of a pair of bins that always agree.
    bound = math.log2(num_bins)
    log_frequency = frequency.clamp(min=torch.finfo(frequency.dtype).tiny).log2()

    size = max(4.0, 0.9 * len(chosen) + 1.5)
    figure, axes = plt.subplots(figsize=(size + 0.8, size + 0.8), layout="constrained")
    image = axes.imshow(log_frequency.cpu().numpy(), cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
    for edge in range(1, len(chosen)):
        axes.axhline(edge * num_bins - 0.5, color="black", linewidth=0.6)
        axes.axvline(edge * num_bins - 0.5, color="black", linewidth=0.6)
    middles = [(index + 0.5) * num_bins - 0.5 for index in range(len(chosen))]
    axes.set_xticks(middles, [f"variable {index}" for index in chosen])
    axes.set_yticks(middles, [f"variable {index}" for index in chosen], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.set(title=f"joint distribution, {num_bins} bins a variable", xlabel="second view", ylabel="first view")
    bar = figure.colorbar(image, extend="both", shrink=0.8)
    bar.set_label("log2 of the frequency over that of\nindependent, equally used bins", fontsize="small")
    width = int(16 * (size + 0.8))  # characters
    figure.supxlabel("\n".join(textwrap.fill(line, width) for line in _LEGEND), fontsize="small", x=0.02, ha="left")
    return figure


def _check(p_a: Tensor, p_b: Tensor, variables: list[int]) -> None:
    for name, p in (("p_a", p_a), ("p_b", p_b)):
        if not (isinstance(p, Tensor) and p.is_floating_point()):
            raise TypeError(
                f"{name} must be a tensor of a floating dtype, got {getattr(p, 'dtype', type(p).__name__)}."
            )
        if p.ndim != 3 or p.shape[2] < 2 or len(p) == 0:
            raise ValueError(f"{name} must have the shape (N, M, K) with N > 0 and K > 1, got {tuple(p.shape)}.")
    if p_a.shape != p_b.shape:
        raise ValueError(f"both views must have one shape, got p_a {tuple(p_a.shape)} and p_b {tuple(p_b.shape)}.")
    wrong = [index for index in variables if not 0 <= index < p_a.shape[1]]
    if wrong or not variables:
        raise ValueError(f"variables must be indices from 0 to {p_a.shape[1] - 1}, got {variables}.")
