"""The contents of a report: numbers on the variables and the representation, and attributions, all as arrays."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bins = NDArray[np.unsignedinteger[Any]]


class Examples(NamedTuple):
    """Images that represent one bin of a variable, as indices into the report's ``names``; empty for an unused bin.

    Attributes:
        surest: The images with the highest probability of the bin, descending.
        random: Images of the bin drawn at random.
        quantiles: One random image from each equal part of the bin's images sorted by certainty, the surest part first.
    """

    surest: list[int]
    random: list[int]
    quantiles: list[int]


@dataclass(frozen=True)
class Variables:
    """``M`` latent variables of ``K`` bins, over ``N`` images.

    Attributes:
        joint: ``(MK, MK)`` float32 joint distribution, first augmented view by second; each block sums to 1.
        marginals: ``(M, K)`` mean probabilities of both augmented views.
        entropies: ``(M,)`` entropies of the marginals, in shares of log K.
        bins_used: ``(M,)`` number of bins that are the most probable bin of at least one image.
        mutual_information: ``(M, M)`` between the variables of the two views, divided by the mean of their entropies, 0
            to 1, symmetric; on the diagonal between a variable's first and second view.
        order: ``(M,)`` order of the variables that puts similar ones side by side.
        redundant_pairs: ``(m, m', normalised mutual information)`` of ``m < m'``, the most redundant first.
        bins: ``(N, M)`` most probable bin of the plain view, in the smallest unsigned integer type.
        certainty: ``(N, M)`` float16 probability of that bin.
        views_in_bin: ``(N, M)`` number of the two augmented views that fall into that bin too.
        agreement: ``(M,)`` share of the images whose two augmented views fall in the same bin.
        agreement_by_chance: ``(M,)`` the same share for views of unrelated images.
        bin_agreement: ``(M, K)`` share of the augmented views in a bin whose other view falls into it too; NaN for a
            bin without views.
        bin_agreement_by_chance: ``(M, K)`` the same share if the other view were of an unrelated image.
        label_information: ``(M,)`` mutual information of a variable's bin (plain view) and the label, divided by their
            mean entropy, 0 to 1. This and the next five are None without labels.
        label_information_by_chance: ``(M,)`` its mean under shuffled labels.
        label_p_value: ``(M,)`` of the test against shuffled labels, corrected for the ``M`` variables.
        purity: ``(M, K)`` share of the most frequent class among a bin's images; NaN for an unused bin.
        majority: ``(M, K)`` that class; -1 for an unused bin.
        purity_p_value: ``(M, K)`` of the test against shuffled labels, corrected for all bins; 1 for an unused bin.
        examples: ``examples[m][k]``, the images that represent bin ``k`` of variable ``m``.
    """

    joint: NDArray[np.float32]
    marginals: NDArray[np.float64]
    entropies: NDArray[np.float64]
    bins_used: NDArray[np.int64]
    mutual_information: NDArray[np.float64]
    order: NDArray[np.int64]
    redundant_pairs: list[tuple[int, int, float]]
    bins: Bins
    certainty: NDArray[np.float16]
    views_in_bin: NDArray[np.uint8]
    agreement: NDArray[np.float64]
    agreement_by_chance: NDArray[np.float64]
    bin_agreement: NDArray[np.float64]
    bin_agreement_by_chance: NDArray[np.float64]
    label_information: NDArray[np.float64] | None
    label_information_by_chance: NDArray[np.float64] | None
    label_p_value: NDArray[np.float64] | None
    purity: NDArray[np.float64] | None
    majority: NDArray[np.int64] | None
    purity_p_value: NDArray[np.float64] | None
    examples: list[list[Examples]]


@dataclass(frozen=True)
class Representation:
    """The backbone's features, of any method.

    Attributes:
        rankme: Effective rank of the features of the plain views, 1 to min(N, d).
        spectrum: Singular values of these features, at most 512, descending.
        alignment: Mean squared distance of two views' normalized projections (features without a projector), 0 to 4.
        uniformity: How evenly they spread over the sphere, about -4 to 0.
        groups: ``C`` names of classes or, without labels, of clusters.
        gram: ``(C, C)`` mean similarity of two different images by their groups: the loss's kernel for SSL-HSIC,
            otherwise the cosine of the features.
        similarity: The quantity in ``gram``, for instance "cosine similarity of the features".
        random_feature_error: Relative error of the random-feature Gram matrix at the loss's number of features; None
            for methods other than SSL-HSIC.
        map: ``(n, 2)`` principal components of the features.
        map_images: ``(n,)`` indices of their images.
        neighbours_images: ``(n',)`` indices of the images whose neighbours are known.
        neighbours_by_features: ``(n', k)`` indices of the nearest images by the cosine of the features.
        neighbours_by_code: ``(n', k)`` the same by the number of variables in the same bin; None for other methods.
    """

    rankme: float
    spectrum: NDArray[np.float64]
    alignment: float
    uniformity: float
    groups: list[str]
    gram: NDArray[np.float64]
    similarity: str
    random_feature_error: float | None
    map: NDArray[np.float64]
    map_images: NDArray[np.int64]
    neighbours_images: NDArray[np.int64]
    neighbours_by_features: NDArray[np.int64]
    neighbours_by_code: NDArray[np.int64] | None


@dataclass(frozen=True)
class Attribution:
    """Where in an image the evidence for a bin lies.

    Attributes:
        image: Index of the image.
        variable: Index of the variable.
        bin: Index of the bin.
        method: "integrated gradients" or "Grad-CAM".
        heat: ``(H, W)`` float32; signed for integrated gradients, at least 0 for Grad-CAM.
        completeness: For integrated gradients the relative difference between their sum and the difference of the
            outputs that they explain; 0 is best. NaN for Grad-CAM, which has no such sum.
    """

    image: int
    variable: int
    bin: int
    method: str
    heat: NDArray[np.float32]
    completeness: float


@dataclass(frozen=True)
class Report:
    """What a network learned, from ``N`` images that could be read.

    Attributes:
        title: One line for people.
        checkpoint: Where the network comes from.
        source: Where the images come from.
        method: Name of the method, for instance "IMSVD".
        names: ``N`` names of the images.
        positions: ``(N,)`` index of each of them among all given images, unreadable ones included.
        labels: ``(N,)`` classes, -1 if unknown; None without labels.
        classes: Names of the classes.
        skipped: ``(name, reason)`` of each image that could not be read.
        representation: The features.
        variables: The latent variables; None if the method is not IMSVD.
        attributions: Where the evidence lies, for some images and bins.
    """

    title: str
    checkpoint: str
    source: str
    method: str
    names: list[str]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    classes: list[str]
    skipped: list[tuple[str, str]]
    representation: Representation
    variables: Variables | None
    attributions: list[Attribution]

    def save(self, folder: str | Path) -> None:
        """Write ``report.json``, with all but the largest arrays, and ``report.npz``, with all arrays.

        The keys of the archive are the paths of the fields, such as ``variables.label_p_value``.

        Args:
            folder: The folder; created if it does not exist.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {}
        text = json.dumps(_plain(self, "", arrays), allow_nan=False)
        (folder / "report.json").write_text(text, encoding="utf-8")
        np.savez(folder / "report.npz", **arrays)


# A larger array is only in the archive; the limit is about 8 MB of text.
_LARGEST_IN_JSON = 400_000


def _plain(value: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """The value in JSON's types; arrays are collected by their path."""
    if hasattr(value, "__dataclass_fields__"):
        found = {each.name: _plain(getattr(value, each.name), f"{path}.{each.name}", arrays) for each in fields(value)}
        return {name: each for name, each in found.items() if each is not _OMITTED}
    if isinstance(value, np.ndarray):
        arrays[path.lstrip(".")] = value
        return _plain(value.tolist(), path, {}) if value.size <= _LARGEST_IN_JSON else _OMITTED
    if isinstance(value, Examples):
        return value._asdict()
    if isinstance(value, (list, tuple)):
        return [_plain(each, f"{path}.{index}", arrays) for index, each in enumerate(value)]
    # JSON has no NaN.
    return None if isinstance(value, float) and not math.isfinite(value) else value


_OMITTED = object()
