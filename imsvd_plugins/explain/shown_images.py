"""Choosing the images that a page shows when a data set has more than it can hold."""

import numpy as np
from numpy.typing import NDArray

from imsvd_plugins.explain.report import Report

_SEED = 0


def choose_images(report: Report, limit: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Choose at most ``limit`` images of a report.

    The images with an attribution come first. A third of the rest goes to images that are among the surest of many
    bins. The remainder is a uniform sample of all images, so that a page shows usual images beside the best ones. The
    sample starts with the map's images, which include the neighbours.

    Args:
        report: The report.
        limit: The largest number of images, at least 1.

    Returns:
        Indices of the images, ascending; and for each whether it belongs to the uniform sample.
    """
    total = len(report.names)
    if total <= limit:
        return np.arange(total), np.ones(total, dtype=bool)
    special = list(dict.fromkeys(each.image for each in report.attributions))[:limit]
    surest = [image for image in _surest(report) if image not in set(special)]
    special += surest[: (limit - len(special)) // 3]
    chosen = set(special)
    usual = []
    for image in _in_random_order(report):
        if image not in chosen and len(chosen) == limit:
            break
        chosen.add(image)
        usual.append(image)
    shown = np.array(sorted(chosen), dtype=np.int64)
    return shown, np.isin(shown, np.array(usual, dtype=np.int64))


def _in_random_order(report: Report) -> list[int]:
    """All images in random order, first those of the map, which are a random sample themselves."""
    rng = np.random.default_rng(_SEED)
    mapped = rng.permutation(report.representation.map_images)
    others = rng.permutation(np.setdiff1d(np.arange(len(report.names)), mapped))
    order: list[int] = np.concatenate([mapped, others]).tolist()
    return order


def _surest(report: Report) -> list[int]:
    """Images sorted by the number of bins that have them among their surest."""
    if report.variables is None:
        return []
    images = [image for bins in report.variables.examples for each in bins for image in each.surest]
    counts = np.bincount(np.array(images, dtype=np.int64), minlength=len(report.names))
    order: list[int] = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist()
    return order
