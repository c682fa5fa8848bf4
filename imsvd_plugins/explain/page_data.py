"""The numbers of a report as a page reads them: packed, and only for the images it shows."""

import base64
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imsvd_plugins.explain.pooling import pooled_block, pooled_joint
from imsvd_plugins.explain.report import Attribution, Report, Representation, Variables

_BLOCK_CELLS = 40
_RELATED = 3
_PAIRS = 100
_CLASSES = 4
_HEAT_SIDE = 56
# A network's strides leave a chequerboard in gradients, which cells of 2 x 2 pixels average out. Smaller images have
# too few pixels for this.
_LEAST_POOLED_SIDE = 32


def page_data(report: Report, shown: NDArray[np.int64], uniform: NDArray[np.bool_]) -> dict[str, Any]:
    """Collect the data that the page's scripts read, ready for JSON.

    Args:
        report: The report.
        shown: Indices ``(P,)`` of the images that the page shows, ascending.
        uniform: ``(P,)`` whether each of them belongs to a uniform sample of all images.

    Returns:
        Names, numbers, and arrays as base64 with their type and shape.
    """
    return {
        "title": report.title,
        "checkpoint": report.checkpoint,
        "source": report.source,
        "method": report.method,
        "classes": list(report.classes),
        "numImages": len(report.names),
        "skipped": [list(each) for each in report.skipped],
        "images": {
            "indices": _packed(shown, np.uint32),
            "names": [report.names[index] for index in shown],
            "labels": None if report.labels is None else _packed(report.labels[shown], np.int32),
            "uniform": _packed(uniform, np.uint8),
        },
        "variables": None if report.variables is None else _variables(report.variables, report.labels, shown),
        "representation": _representation(report.representation, report.labels),
        "attributions": [_attribution(each) for each in report.attributions],
    }


def _variables(variables: Variables, labels: NDArray[np.int64] | None, shown: NDArray[np.int64]) -> dict[str, Any]:
    num_variables, num_bins = variables.marginals.shape
    related = related_variables(variables.mutual_information)
    return {
        "count": num_variables,
        "bins": num_bins,
        "joint": _packed(pooled_joint(variables.joint, num_bins), np.uint8),
        "related": _packed(related, np.uint16),
        "blocks": _packed(_blocks(variables.joint, num_bins, related), np.uint8),
        "marginals": _packed(variables.marginals, np.float32),
        "entropies": _packed(variables.entropies, np.float32),
        "binsUsed": _packed(variables.bins_used, np.uint16),
        "mutualInformation": _packed(variables.mutual_information, np.float32),
        "order": _packed(variables.order, np.uint16),
        "redundantPairs": [[int(m), int(n), _number(value)] for m, n, value in variables.redundant_pairs[:_PAIRS]],
        "agreement": _packed(variables.agreement, np.float32),
        "agreementByChance": _packed(variables.agreement_by_chance, np.float32),
        "binAgreement": _packed(variables.bin_agreement, np.float32),
        "binAgreementByChance": _packed(variables.bin_agreement_by_chance, np.float32),
        "counts": _packed(_counts(variables.bins, num_bins), np.uint32),
        "imageBins": _packed(variables.bins[shown], np.uint8 if num_bins <= 256 else np.uint16),
        "certainty": _packed(np.rint(variables.certainty[shown].astype(np.float32) * 255), np.uint8),
        "viewsInBin": _packed(variables.views_in_bin[shown], np.uint8),
        "quantile": _packed(certainty_quantiles(variables)[shown], np.uint8),
        "labels": None if labels is None else _labels(variables, labels, num_bins),
    }


def _labels(variables: Variables, labels: NDArray[np.int64], num_bins: int) -> dict[str, Any]:
    frequent, counts = frequent_classes(variables.bins, labels, num_bins)
    return {
        "information": _packed(variables.label_information, np.float32),
        "byChance": _packed(variables.label_information_by_chance, np.float32),
        "pValue": _packed(variables.label_p_value, np.float32),
        "purity": _packed(variables.purity, np.float32),
        "majority": _packed(variables.majority, np.int16),
        "purityPValue": _packed(variables.purity_p_value, np.float32),
        "frequent": _packed(frequent, np.int16),
        "frequentCounts": _packed(counts, np.uint32),
    }


def frequent_classes(
    bins: NDArray[Any], labels: NDArray[np.int64], num_bins: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The few most frequent classes of each bin and their numbers of images, both ``(M, K, c)``."""
    known = labels >= 0
    num_classes = int(labels.max()) + 1
    tables = np.stack(
        [
            np.bincount(column * np.int64(num_classes) + labels[known], minlength=num_bins * num_classes)
            for column in bins[known].T
        ]
    ).reshape(bins.shape[1], num_bins, num_classes)
    frequent = np.argsort(-tables, axis=2, kind="stable")[:, :, :_CLASSES]
    return frequent, np.take_along_axis(tables, frequent, axis=2)


def related_variables(mutual_information: NDArray[Any]) -> NDArray[np.int64]:
    """Each variable itself, then the few that share most with it: ``(M, r)``."""
    others = mutual_information.astype(np.float64)
    np.fill_diagonal(others, np.inf)
    return np.argsort(-others, axis=1, kind="stable")[:, : 1 + _RELATED]


def certainty_quantiles(variables: Variables) -> NDArray[np.uint8]:
    """Rank of each image's certainty within its bin, ``(N, M)``: 0 for the surest to 255 for the least sure."""
    num_images, num_variables = variables.bins.shape
    quantiles = np.empty((num_images, num_variables), dtype=np.uint8)
    for variable in range(num_variables):
        bins = variables.bins[:, variable]
        order = np.lexsort((-variables.certainty[:, variable].astype(np.float32), bins))
        ordered = bins[order]
        first = np.searchsorted(ordered, ordered, side="left")
        last = np.searchsorted(ordered, ordered, side="right") - 1
        rank = (np.arange(num_images) - first) / np.maximum(last - first, 1)
        quantiles[order, variable] = np.rint(255 * rank)
    return quantiles


def _counts(bins: NDArray[Any], num_bins: int) -> NDArray[np.int64]:
    return np.stack([np.bincount(column, minlength=num_bins) for column in bins.T])


def _blocks(joint: NDArray[Any], num_bins: int, related: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The joint distribution of each variable with its related ones: ``(M, r, cells, cells)``."""
    cells = min(num_bins, _BLOCK_CELLS)
    by_block = joint.reshape(len(related), num_bins, len(related), num_bins)
    return np.stack(
        [[pooled_block(by_block[m, :, other], num_bins, cells) for other in others] for m, others in enumerate(related)]
    )


def _representation(representation: Representation, labels: NDArray[np.int64] | None) -> dict[str, Any]:
    return {
        "rankme": _number(representation.rankme),
        "spectrum": _packed(representation.spectrum, np.float32),
        "alignment": _number(representation.alignment),
        "uniformity": _number(representation.uniformity),
        "groups": list(representation.groups),
        "gram": _packed(representation.gram, np.float32),
        "similarity": representation.similarity,
        "randomFeatureError": _number(representation.random_feature_error),
        "map": _packed(representation.map, np.float32),
        "mapImages": _packed(representation.map_images, np.uint32),
        "mapLabels": None if labels is None else _packed(labels[representation.map_images], np.int32),
        "neighboursImages": _packed(representation.neighbours_images, np.uint32),
        "neighboursByFeatures": _packed(representation.neighbours_by_features, np.uint32),
        "neighboursByCode": None
        if representation.neighbours_by_code is None
        else _packed(representation.neighbours_by_code, np.uint32),
    }


def _attribution(attribution: Attribution) -> dict[str, Any]:
    heat = np.nan_to_num(attribution.heat.astype(np.float32))
    step = max(2 if min(heat.shape) >= _LEAST_POOLED_SIDE else 1, -(-max(heat.shape) // _HEAT_SIDE))
    rows, columns = (np.arange(0, length, step) for length in heat.shape)
    pooled = np.add.reduceat(np.add.reduceat(heat, rows, axis=0), columns, axis=1)
    strongest = float(np.abs(pooled).max()) or 1.0
    return {
        "image": int(attribution.image),
        "variable": int(attribution.variable),
        "bin": int(attribution.bin),
        "method": attribution.method,
        "completeness": _number(attribution.completeness),
        "heat": _packed(np.rint(pooled / strongest * 127), np.int8),
    }


def _packed(values: Any, dtype: Any) -> dict[str, Any]:
    """An array in the form that scripts decode; little-endian, like browsers' typed arrays."""
    array = np.ascontiguousarray(np.asarray(values).astype(np.dtype(dtype).newbyteorder("<")))
    return {
        "type": np.dtype(dtype).name,
        "shape": list(array.shape),
        "data": base64.b64encode(array.tobytes()).decode("ascii"),
    }


def _number(value: float | None) -> float | None:
    """A number as JSON can hold it."""
    return float(value) if value is not None and math.isfinite(value) else None
