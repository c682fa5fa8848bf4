"""Figures of a report: an overview of the latent variables, and the backbone's features."""

import math
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imsvd_plugins._terminal import printable
from imsvd_plugins.explain.pooling import pooled_joint
from imsvd_plugins.explain.report import Report, Representation, Variables

_SHOWN = 15  # pairs and variables listed by name
_SMALL = "small"
_LEAST_SCALE = 0.1
_CHANCE = "0.55"  # grey level of values by chance
_DPI = 120


def draw_overview(variables: Variables, title: str = "") -> Figure:
    """Draw all latent variables: their joint distribution, entropies, agreement, redundancy and use for the labels.

    Args:
        variables: The variables.
        title: The figure's title.

    Returns:
        The figure, which has no pyplot window.
    """
    with_labels = variables.label_information is not None
    figure = Figure(figsize=(19 if with_labels else 16, 8), layout="constrained")
    rows = ["JJEN", "JJAP"]
    axes = figure.subplot_mosaic("\n".join(row + "L" * with_labels for row in rows))
    num_variables, num_bins = variables.marginals.shape
    figure.suptitle(plain_text(title) or f"{num_variables} variables of {num_bins} bins")
    _joint(axes["J"], variables)
    _entropies(axes["E"], variables)
    _mutual_information(axes["N"], variables)
    _agreement(axes["A"], variables)
    _redundant_pairs(axes["P"], variables)
    if with_labels:
        _labels(axes["L"], variables)
    return figure


def draw_representation(
    representation: Representation, labels: NDArray[np.int64] | None = None, classes: list[str] | None = None
) -> Figure:
    """Draw a backbone's features: the similarity of groups, the spectrum and the map.

    Args:
        representation: The features.
        labels: ``(N,)`` classes of all images, -1 if unknown; None without labels.
        classes: Names of the classes.

    Returns:
        The figure, which has no pyplot window.
    """
    figure = Figure(figsize=(17, 5.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    groups, gram = representation.groups, representation.gram
    image = left.imshow(gram, cmap="viridis", interpolation="nearest")
    figure.colorbar(image, ax=left, shrink=0.8)
    left.set_title(f"mean {representation.similarity}\nof two images by group")
    if len(groups) <= 30:
        shown = [plain_text(group) for group in groups]
        left.set_xticks(range(len(groups)), shown, rotation=90, fontsize=_SMALL)
        left.set_yticks(range(len(groups)), shown, fontsize=_SMALL)

    spectrum = representation.spectrum[representation.spectrum > 0]
    middle.semilogy(np.arange(1, len(spectrum) + 1), spectrum / max(spectrum[:1], default=1.0), ".-")
    middle.set(title=f"spectrum of the features\neffective rank (RankMe) {representation.rankme:.1f}", xlabel="rank")
    middle.set_ylabel("singular value over the largest")

    x, y = representation.map.T
    if labels is None:
        right.scatter(x, y, s=6)
    else:
        _scatter_classes(right, x, y, labels[representation.map_images], classes or [])
    right.set(title="map of the features\n(first two principal components)", xticks=[], yticks=[])
    return figure


def write_figures(report: Report, folder: str | Path) -> list[Path]:
    """Write ``overview.png``, if there are variables, and ``representation.png``.

    Args:
        report: The report to draw.
        folder: An existing folder.

    Returns:
        The files.
    """
    figures = {"representation.png": draw_representation(report.representation, report.labels, report.classes)}
    if report.variables is not None:
        figures["overview.png"] = draw_overview(report.variables, report.title)
    for name, figure in figures.items():
        figure.savefig(Path(folder) / name, dpi=_DPI)
    return [Path(folder) / name for name in figures]


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """The figure as an image ``(H, W, 3)``."""
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    image: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    return image.copy()


def _joint(axes: Axes, variables: Variables) -> None:
    num_variables, num_bins = variables.marginals.shape
    coded = pooled_joint(variables.joint, num_bins, pixels=512)
    cells = len(coded) // num_variables
    blocks = coded.reshape(num_variables, cells, num_variables, cells)[variables.order][:, :, variables.order]
    bound = math.log2(cells)
    logarithm = (blocks.reshape(coded.shape) / 127.0 - 1) * bound
    extent = (-0.5, num_variables - 0.5, num_variables - 0.5, -0.5)
    image = axes.imshow(logarithm, cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="antialiased", extent=extent)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, extend="both")
    bar.set_label("log2 of the frequency over that of independent, equally used bins", fontsize=_SMALL)
    axes.set_title(
        f"joint distribution of {num_variables} variables of {num_bins} bins\n"
        "white: independent variables that use all bins alike\n"
        "red lines off the diagonal: two variables say the same"
    )
    axes.set(xlabel="variables (similar ones adjacent), second view", ylabel="first view")
    _name_variables(axes, variables.order)


def _entropies(axes: Axes, variables: Variables) -> None:
    num_variables, num_bins = variables.marginals.shape
    order = np.argsort(-variables.entropies, kind="stable")
    place = np.arange(1, num_variables + 1)
    axes.plot(place, variables.bins_used[order] / num_bins, ".", color=_CHANCE, label="share of the bins used")
    axes.plot(place, variables.entropies[order], ".-", label="entropy / log K")
    axes.set(title="entropies, sorted", xlabel="variables", ylim=(-0.02, 1.05))
    axes.legend(fontsize=_SMALL, loc="best")


def _mutual_information(axes: Axes, variables: Variables) -> None:
    shared = variables.mutual_information[np.ix_(variables.order, variables.order)].copy()
    # The information of a variable with itself would outshine the rest.
    np.fill_diagonal(shared, np.nan)
    image = axes.imshow(shared, cmap="viridis", vmin=0, vmax=_upper_limit(variables), interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set_title("normalised mutual information\n(similar variables adjacent)")
    _name_variables(axes, variables.order)


def _agreement(axes: Axes, variables: Variables) -> None:
    order = np.argsort(-variables.agreement, kind="stable")
    place = np.arange(1, len(order) + 1)
    axes.plot(place, variables.agreement_by_chance[order], ".", color=_CHANCE, label="by chance")
    axes.plot(place, variables.agreement[order], ".-", label="both views in the same bin")
    axes.set(title="invariance, sorted", xlabel="variables", ylabel="share of the images", ylim=(-0.02, 1.05))
    axes.legend(fontsize=_SMALL, loc="best")


def _redundant_pairs(axes: Axes, variables: Variables) -> None:
    pairs = variables.redundant_pairs[:_SHOWN]
    axes.barh(range(len(pairs)), [shared for _, _, shared in pairs])
    axes.set_yticks(range(len(pairs)), [f"{m} and {n}" for m, n, _ in pairs], fontsize=_SMALL)
    axes.invert_yaxis()
    axes.set(title="most redundant pairs of variables", xlabel="normalised mutual information")
    axes.set_xlim(0, 1.05 * _upper_limit(variables))


def _upper_limit(variables: Variables) -> float:
    """Upper limit of the scale of shared information; it has a minimum, so that little does not look like much."""
    return max([_LEAST_SCALE, *(shared for _, _, shared in variables.redundant_pairs[:1])])


def _labels(axes: Axes, variables: Variables) -> None:
    information, p_values = variables.label_information, variables.label_p_value
    by_chance = variables.label_information_by_chance
    if information is None or p_values is None or by_chance is None:
        return
    order = np.argsort(-information, kind="stable")[: 2 * _SHOWN]
    place = np.arange(len(order))
    axes.barh(place, information[order], label="with the labels")
    axes.plot(by_chance[order], place, "|", color="black", label="with shuffled labels")
    marks = ["" if p <= 0.05 else " (n.s.)" for p in p_values[order]]
    axes.set_yticks(place, [f"{m}{mark}" for m, mark in zip(order, marks, strict=True)], fontsize=_SMALL)
    axes.invert_yaxis()
    axes.set(title="mutual information with the label", xlabel="normalised mutual information", ylabel="variable")
    axes.legend(fontsize=_SMALL, loc="lower right")


def _name_variables(axes: Axes, order: NDArray[np.int64]) -> None:
    if len(order) <= 40:
        axes.set_xticks(range(len(order)), order, fontsize="x-small", rotation=90)
        axes.set_yticks(range(len(order)), order, fontsize="x-small")
    else:
        axes.set(xticks=[], yticks=[])


def _scatter_classes(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], labels: NDArray[np.int64], classes: list[str]
) -> None:
    unknown = labels < 0
    axes.scatter(x[unknown], y[unknown], s=6, color=_CHANCE)
    if len(classes) > 20:
        axes.scatter(x[~unknown], y[~unknown], s=6, c=labels[~unknown], cmap="hsv")
        return
    colours = colormaps["tab10" if len(classes) <= 10 else "tab20"]
    for index, name in enumerate(classes):
        axes.scatter(x[labels == index], y[labels == index], s=6, color=colours(index), label=plain_text(name))
    axes.legend(fontsize=_SMALL, markerscale=2)


def plain_text(name: str) -> str:
    """Escape a name for matplotlib: a dollar sign starts a formula, and a leading underscore hides it in a legend."""
    shown = printable(name).replace("$", r"\$")
    return f"\u200b{shown}" if shown.startswith("_") else shown
