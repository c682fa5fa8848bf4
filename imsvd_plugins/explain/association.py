"""Association of the bins of latent variables with labels, tested against shuffled labels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imsvd_plugins.explain.report import Bins

# Differences of rounding do not count.
_TIE = 1e-9


class LabelAssociation(NamedTuple):
    """The fields are those of the same names in :class:`~imsvd_plugins.explain.Variables`."""

    label_information: NDArray[np.float64]
    label_information_by_chance: NDArray[np.float64]
    label_p_value: NDArray[np.float64]
    purity: NDArray[np.float64]
    majority: NDArray[np.int64]
    purity_p_value: NDArray[np.float64]


def label_association(
    bins: Bins,
    labels: NDArray[np.int64],
    num_bins: int,
    *,
    shuffles: int = 499,
    rng: np.random.Generator,
) -> LabelAssociation:
    """Mutual information of each variable with the label, and the purity of each bin.

    Both are compared with their values under shuffled labels. Each statistic is standardized by its mean and deviation
    over the shuffles. Its p-value is the share of the shuffles in which any variable (any bin) reaches as much
    (Westfall and Young 1993, the single-step maxT procedure). So with meaningless labels the probability that anything
    looks significant at 0.05 is 0.05, for any number of variables.

    Args:
        bins: ``(N, M)`` bin of each image in each variable.
        labels: ``(N,)`` classes, at least 0.
        num_bins: Bins ``K`` of a variable.
        shuffles: Number of shuffles; no p-value can be below ``1 / (shuffles + 1)``.
        rng: Source of the shuffles.

    Returns:
        The association.
    """
    columns = np.ascontiguousarray(bins.T)
    num_classes = int(labels.max()) + 1
    # (K, C) counts per variable, flat: the logarithm of a count is looked up.
    n_log_n = np.arange(len(labels) + 1, dtype=np.float64)
    n_log_n[1:] *= np.log(n_log_n[1:])
    tables = np.stack([_counts(column, labels, num_bins, num_classes) for column in columns])
    bin_sizes = tables.sum(axis=2)
    entropy_of_label = _entropy(tables[0].sum(axis=0), n_log_n)
    entropy_of_bins = np.array([_entropy(sizes, n_log_n) for sizes in bin_sizes])

    information = np.empty((shuffles + 1, len(columns)))
    most = np.empty((shuffles + 1, len(columns), num_bins), dtype=np.int32)
    for shuffle in range(shuffles + 1):
        shuffled = labels if shuffle == 0 else rng.permutation(labels)
        for m, column in enumerate(columns):
            table = _counts(column, shuffled, num_bins, num_classes)
            information[shuffle, m] = entropy_of_bins[m] + entropy_of_label - _entropy(table, n_log_n)
            most[shuffle, m] = table.max(axis=1)
    mean_entropy = (entropy_of_bins + entropy_of_label) / 2
    information = np.divide(information, mean_entropy, out=np.zeros_like(information), where=mean_entropy > _TIE)
    information = information.clip(0, 1)
    used = bin_sizes > 0
    return LabelAssociation(
        label_information=information[0],
        label_information_by_chance=information[1:].mean(axis=0),
        label_p_value=_p_values(information),
        purity=np.divide(most[0], bin_sizes, out=np.full(used.shape, np.nan), where=used),
        majority=np.where(used, tables.argmax(axis=2), -1),
        # A bin's size is the same in all shuffles, so counts rank like shares.
        purity_p_value=np.where(used, _p_values(most.reshape(len(most), -1)).reshape(used.shape), 1.0),
    )


def _counts(column: Bins, labels: NDArray[np.int64], num_bins: int, num_classes: int) -> NDArray[np.int64]:
    """Contingency table ``(K, C)``."""
    cells = np.multiply(column, num_classes, dtype=np.intp)
    cells += labels
    return np.bincount(cells, minlength=num_bins * num_classes).reshape(num_bins, num_classes)


def _entropy(counts: NDArray[np.int64], n_log_n: NDArray[np.float64]) -> float:
    """Entropy of the counts' distribution, in nats."""
    total = len(n_log_n) - 1
    return float((n_log_n[total] - n_log_n[counts].sum()) / total)


def _p_values(statistics: NDArray[np.float64 | np.int32]) -> NDArray[np.float64]:
    """Corrected p-values of the first row of ``(1 + shuffles, n)`` statistics.

    The first row counts as one of the shuffles everywhere, also in the standardization: with meaningless labels it
    would be like the others.
    """
    deviation = statistics.std(axis=0)
    standardized = np.divide(
        statistics - statistics.mean(axis=0), deviation, out=np.zeros(statistics.shape), where=deviation > _TIE
    )
    largest = np.sort(standardized.max(axis=1))
    reached = len(largest) - np.searchsorted(largest, standardized[0] - _TIE)
    p_values: NDArray[np.float64] = reached / len(largest)
    return p_values
