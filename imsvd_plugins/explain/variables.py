"""Statistics of IMSVD's latent variables, accumulated batch by batch."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.special import entr
from torch import Tensor

from imsvd_plugins.explain.association import LabelAssociation, label_association
from imsvd_plugins.explain.examples import choose_examples
from imsvd_plugins.explain.report import Bins, Variables
from imsvd_plugins.functional import soft_discretize

# Rows of the joint matrix that are processed at a time, so that intermediate results are small beside the matrix.
_ROWS = 128
# Images whose probabilities are collected before they are added to the joint matrix: each addition reads and writes
# the whole matrix.
_WAITING = 512


class VariableStatistics:
    """The joint distribution of ``M`` variables of ``K`` bins in two views, and each image's bins in a plain view.

    It keeps the joint matrix ``(MK, MK)`` in float64, the probabilities of 512 images in two views and, for each image,
    ``M`` bins and their probabilities. The products are computed in the precision of the probabilities, which is
    float32 unless the projections are float64.

    Args:
        num_bins: Bins ``K`` of a variable, at least 2.
        most_images: Number of images for which memory is reserved.
        temperature: Temperature of the softmax over the bins.
    """

    def __init__(self, num_bins: int, most_images: int, temperature: float = 1.0) -> None:
        self.num_bins = num_bins
        self.most_images = most_images
        self.temperature = temperature
        self.num_images = 0
        self._num_waiting = 0
        self._waiting = self._joint = self._frequencies = self._agreeing = torch.empty(0)

    @torch.no_grad()
    def update(self, z_a: Tensor, z_b: Tensor, z_plain: Tensor) -> None:
        """Add a batch.

        Args:
            z_a: Projections ``(N, MK)`` of one augmented view.
            z_b: Projections of the other augmented view.
            z_plain: Projections of the plain view.

        Raises:
            ValueError: If ``num_bins`` does not divide the number of projections.
        """
        p_a, p_b = self._probabilities(z_a), self._probabilities(z_b)
        if self.num_images == 0:
            num_variables, dim = p_a.shape[1], z_a.shape[1]
            self._joint = p_a.new_zeros(dim, dim, dtype=torch.float64)
            self._frequencies = p_a.new_zeros(2, num_variables, self.num_bins, dtype=torch.int64)
            self._agreeing = p_a.new_zeros(num_variables, self.num_bins, dtype=torch.int64)
            # Reserved at once: small arrays kept batch by batch would fragment the memory.
            of_images = (self.most_images, num_variables)
            self._bins: Bins = np.empty(of_images, dtype=np.min_scalar_type(self.num_bins - 1))
            self._certainty = np.empty(of_images, dtype=np.float16)
            self._views_in_bin = np.empty(of_images, dtype=np.uint8)
        added = slice(self.num_images, self.num_images + len(z_a))
        self.num_images = added.stop
        bins_a, bins_b = p_a.argmax(dim=2), p_b.argmax(dim=2)
        self._agreeing.scatter_add_(1, bins_a.T, (bins_a == bins_b).T.long())
        for counts, bins in zip(self._frequencies, (bins_a, bins_b), strict=True):
            counts.scatter_add_(1, bins.T, torch.ones_like(bins.T))
        certainty, bins = self._probabilities(z_plain).max(dim=2)
        self._bins[added] = bins.cpu().numpy()
        self._certainty[added] = certainty.cpu().numpy()
        self._views_in_bin[added] = ((bins_a == bins).byte() + (bins_b == bins).byte()).cpu().numpy()
        self._wait_or_add(torch.stack([p_a.flatten(1), p_b.flatten(1)]))

    def _wait_or_add(self, probabilities: Tensor) -> None:
        """Collect the probabilities ``(2, N, MK)`` of two views, or add them."""
        count = probabilities.shape[1]
        if self._num_waiting + count > _WAITING:
            self._add_waiting()
        if count > _WAITING:
            self._add(probabilities)
            return
        if not len(self._waiting):
            self._waiting = probabilities.new_empty(2, _WAITING, probabilities.shape[2])
        self._waiting[:, self._num_waiting : self._num_waiting + count] = probabilities
        self._num_waiting += count

    def flush(self) -> None:
        """Add the collected probabilities and free their memory; required after the last :meth:`update`."""
        self._add_waiting()
        self._waiting = torch.empty(0)

    def _add_waiting(self) -> None:
        if self._num_waiting:
            self._add(self._waiting[:, : self._num_waiting])
            self._num_waiting = 0

    def _add(self, probabilities: Tensor) -> None:
        p_a, p_b = probabilities
        for start in range(0, len(self._joint), _ROWS):
            self._joint[start : start + _ROWS] += p_a[:, start : start + _ROWS].T @ p_b

    def _probabilities(self, z: Tensor) -> Tensor:
        p = soft_discretize(z, self.num_bins, self.temperature)
        # The lower bound of the probabilities makes their sum slightly more than 1.
        return p.div_(p.sum(dim=2, keepdim=True))

    def joint(self) -> NDArray[np.float32]:
        """Joint distribution ``(MK, MK)``, first view by second; each block sums to 1."""
        found = np.empty(self._joint.shape, dtype=np.float32)
        for start in range(0, len(found), _ROWS):
            found[start : start + _ROWS] = (self._joint[start : start + _ROWS] / self.num_images).numpy(force=True)
        return found

    def free_joint(self) -> None:
        """Free the joint matrix, by far the largest object; afterwards only what is counted per image remains."""
        self._joint = torch.empty(0)

    def marginals(self) -> NDArray[np.float64]:
        """Mean probabilities ``(M, K)`` of both views."""
        num_variables = len(self._agreeing)
        both = self._joint.sum(dim=0) + self._joint.sum(dim=1)
        # Each of the M blocks in a row holds the whole marginal.
        return _array(both.view(num_variables, -1) / (2 * num_variables * self.num_images))

    def mutual_information(self) -> NDArray[np.float64]:
        """Normalised mutual information ``(M, M)``, see :class:`~imsvd_plugins.explain.Variables`."""
        num_variables = len(self._agreeing)
        found = self._joint.new_empty(num_variables, num_variables)
        for m, block_row in enumerate(torch.split(self._joint, self.num_bins)):
            blocks = (block_row / self.num_images).view(self.num_bins, -1, self.num_bins)  # (K, M, K)
            first, second = _entropy(blocks.sum(dim=2), 0), _entropy(blocks.sum(dim=0), 1)
            shared, mean = first + second - _entropy(blocks, (0, 2)), (first + second) / 2
            # Variables that use a single bin share no information.
            found[m] = torch.where(mean > 1e-12, shared / mean.clamp(min=1e-12), 0.0)
        return _array(((found + found.T) / 2).clamp(0, 1))

    def agreement(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares ``(M,)`` of the images whose two views fall in the same bin: measured, and for unrelated images."""
        by_chance = (self._frequencies.double() / self.num_images).prod(dim=0).sum(dim=1)
        return _array(self._agreeing.double().sum(dim=1) / self.num_images), _array(by_chance)

    def bin_agreement(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares ``(M, K)`` of a bin's views whose other view is in it too: measured, and for unrelated images."""
        views = self._frequencies.double()
        by_chance = 2 * (views / self.num_images).prod(dim=0) * self.num_images / views.sum(dim=0)
        return _array(2 * self._agreeing.double() / views.sum(dim=0)), _array(by_chance)

    def bins(self) -> Bins:
        """Most probable bin ``(N, M)`` of each image's plain view."""
        return self._bins[: self.num_images]

    def certainty(self) -> NDArray[np.float16]:
        """Probability ``(N, M)`` of that bin."""
        return self._certainty[: self.num_images]

    def views_in_bin(self) -> NDArray[np.uint8]:
        """Number ``(N, M)`` of the two augmented views that fall into that bin too."""
        return self._views_in_bin[: self.num_images]


def describe_variables(
    statistics: VariableStatistics,
    labels: NDArray[np.int64] | None,
    priority: NDArray[np.int64],
    *,
    shuffles: int,
    rng: np.random.Generator,
) -> Variables:
    """Describe the variables that were accumulated.

    Args:
        statistics: The statistics of all images.
        labels: ``(N,)`` classes of the images, -1 if unknown, at least one known; None without labels.
        priority: ``(N,)`` a random order of the images.
        shuffles: Number of shuffles of the labels in the tests.
        rng: Source of the shuffles.

    Returns:
        The description.
    """
    statistics.flush()
    marginals, shared, joint = statistics.marginals(), statistics.mutual_information(), statistics.joint()
    statistics.free_joint()
    num_bins, bins, certainty = statistics.num_bins, statistics.bins(), statistics.certainty()
    agreement, by_chance = statistics.agreement()
    bin_agreement, bin_agreement_by_chance = statistics.bin_agreement()
    if labels is None:
        association: dict[str, Any] = dict.fromkeys(LabelAssociation._fields)
    else:
        known = labels >= 0
        association = label_association(bins[known], labels[known], num_bins, shuffles=shuffles, rng=rng)._asdict()
    return Variables(
        joint=joint,
        marginals=marginals,
        entropies=entr(marginals).sum(axis=1) / np.log(num_bins),
        bins_used=np.array([len(np.unique(column)) for column in bins.T]),
        mutual_information=shared,
        order=similar_adjacent(shared),
        redundant_pairs=redundant_pairs(shared),
        bins=bins,
        certainty=certainty,
        views_in_bin=statistics.views_in_bin(),
        agreement=agreement,
        agreement_by_chance=by_chance,
        bin_agreement=bin_agreement,
        bin_agreement_by_chance=bin_agreement_by_chance,
        examples=choose_examples(bins, certainty, num_bins, priority),
        **association,
    )


def similar_adjacent(mutual_information: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order ``(M,)`` of the variables, by average linkage, that puts those sharing much information side by side."""
    if len(mutual_information) < 2:
        return np.arange(len(mutual_information))
    distances = squareform(1 - mutual_information, checks=False)
    order: NDArray[np.int32] = leaves_list(linkage(distances, "average", optimal_ordering=True))
    return order.astype(np.int64)


def redundant_pairs(mutual_information: NDArray[np.float64], count: int = 50) -> list[tuple[int, int, float]]:
    """The ``count`` most redundant pairs of variables ``m < m'``, as ``(m, m', normalised mutual information)``."""
    first, second = np.triu_indices(len(mutual_information), k=1)
    shared = mutual_information[first, second]
    most = np.argsort(-shared, kind="stable")[:count]
    return [(int(first[pair]), int(second[pair]), float(shared[pair])) for pair in most]


def _entropy(p: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Entropy in nats."""
    entropy: Tensor = torch.special.entr(p).sum(dim=dim)
    return entropy


def _array(x: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = x.cpu().numpy()
    return found
