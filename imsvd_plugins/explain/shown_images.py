"""Which images a page shows when a data set has more than it can hold."""

import numpy as np
from numpy.typing import NDArray

from imsvd_plugins.explain.report import Report

_SEED = 0


def choose_images(report: Report, limit: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Choose at most ``limit`` images of a report.

    The images with an attribution come first. A third each of the rest goes to images and their neighbours, and to
    those that are among the surest of many bins. What is left is a uniform sample of all images, so that a page can
    show what is usual beside what is best.

    Args:
        report: The report.
        limit: The greatest number of images, at least 1.

    Returns:
        Indices of the images, ascending; and for each whether it belongs to the uniform sample.
    """
    total = len(report.names)
    if total <= limit:
        return np.arange(total), np.ones(total, dtype=bool)
    attributed = list(dict.fromkeys(each.image for each in report.attributions))[:limit]
    share = (limit - len(attributed)) // 3
    special = dict.fromkeys(attributed)
    for candidates in (_neighbours(report), _surest(report)):
        room = len(special) + share
        for image in candidates:
            if len(special) >= room:
                break
            special[int(image)] = None
    sample = np.random.default_rng(_SEED).permutation(total)
    usual: dict[int, None] = {}
    for image in sample.tolist():
        if len(special.keys() | usual.keys()) >= limit and image not in special:
            break
        usual[image] = None
    chosen = np.array(sorted(special.keys() | usual.keys()), dtype=np.int64)
    return chosen, np.isin(chosen, np.array(list(usual), dtype=np.int64))


def _neighbours(report: Report) -> list[int]:
    """Images and their neighbours, image by image."""
    shown = report.representation
    lists = [shown.neighbours_images[:, None], shown.neighbours_by_features]
    if shown.neighbours_by_code is not None:
        lists.append(shown.neighbours_by_code)
    together: list[int] = np.concatenate(lists, axis=1).ravel().tolist()
    return together


def _surest(report: Report) -> list[int]:
    """Images by how many bins have them among their surest."""
    if report.variables is None:
        return []
    images = [image for bins in report.variables.examples for each in bins for image in each.surest]
    counts = np.bincount(np.array(images, dtype=np.int64), minlength=len(report.names))
    order: list[int] = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist()
    return order
