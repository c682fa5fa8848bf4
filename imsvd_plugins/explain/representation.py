"""Statistics of a backbone's features, for any method: accumulated over all images, and in detail for a sample."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn.functional import normalize

from imsvd_plugins.explain.report import Bins, Representation
from imsvd_plugins.functional import diagnostics, sample_random_features
from imsvd_plugins.losses import HSICLoss

_LARGEST_SPECTRUM = 512
_CLUSTERS = 10


class FeatureStatistics:
    """The spectrum of the features and the alignment of the views over all images; the features of a sample.

    It keeps the matrix ``(d, d)`` of second moments, and the features and projections of the sample.

    Args:
        sample: Number of images in the sample, those of lowest rank.
    """

    def __init__(self, sample: int) -> None:
        self.num_images = 0
        self._sample = sample
        self._moment = torch.empty(0)
        self._distance = 0.0
        self._ranks = torch.empty(0, dtype=torch.int64)
        self._features = self._projections = torch.empty(0)

    @torch.no_grad()
    def update(self, features: Tensor, z_a: Tensor, z_b: Tensor, z_plain: Tensor, ranks: Tensor) -> None:
        """Add a batch.

        Args:
            features: Features ``(N, d)`` of the plain view.
            z_a: Projections ``(N, D)`` of one augmented view.
            z_b: Projections of the other augmented view.
            z_plain: Projections of the plain view.
            ranks: ``(N,)`` position of each image in a random order of all, int64, on the CPU.
        """
        wide = features.double()
        moment = wide.T @ wide
        self._moment = moment if self.num_images == 0 else self._moment + moment
        self.num_images += len(features)
        self._distance += float(
            (normalize(z_a, dim=1) - normalize(z_b, dim=1)).square().sum(dim=1, dtype=torch.float64).sum()
        )
        self._keep(ranks, features.cpu(), z_plain.cpu())

    def _keep(self, ranks: Tensor, features: Tensor, projections: Tensor) -> None:
        """Put the images of lowest rank into the sample, in place: lists of small tensors would fragment the memory."""
        if not len(self._features):
            self._features = features.new_empty(self._sample, features.shape[1])
            self._projections = projections.new_empty(self._sample, projections.shape[1])
        kept = len(self._ranks)
        together = torch.cat([self._ranks, ranks])
        lowest = torch.zeros(len(together), dtype=torch.bool)
        lowest[together.topk(min(self._sample, len(together)), largest=False).indices] = True
        entering = lowest[kept:].nonzero().flatten()
        leaving = (~lowest[:kept]).nonzero().flatten()
        added = len(entering) - len(leaving)
        places = torch.cat([leaving, torch.arange(kept, kept + added)])
        self._ranks = torch.cat([self._ranks, ranks.new_empty(added)])
        self._ranks[places] = ranks[entering]
        self._features[places] = features[entering]
        self._projections[places] = projections[entering]

    def sample(self) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """Ranks ``(n,)`` of the sample's images, ascending, their features ``(n, d)`` and projections ``(n, D)``."""
        order = self._ranks.argsort()
        return self._ranks[order].numpy(), self._features[order], self._projections[order]

    def alignment(self) -> float:
        """Mean squared distance of the normalized projections of two views, 0 to 4."""
        return self._distance / self.num_images

    def spectrum(self) -> Tensor:
        """Singular values ``(min(N, d),)`` of the features of all images, descending."""
        squares = torch.linalg.eigvalsh(self._moment).flip(0)[: self.num_images]
        # Otherwise rounding errors in empty directions would count as 1e-8 of the largest singular value.
        noise = squares[0].clamp(min=0) * len(self._moment) * torch.finfo(squares.dtype).eps
        return torch.where(squares > noise, squares, 0.0).sqrt().cpu()


def describe_representation(
    statistics: FeatureStatistics,
    images: NDArray[np.int64],
    labels: NDArray[np.int64] | None,
    classes: list[str],
    bins: Bins | None,
    criterion: HSICLoss | None,
    neighbours: int = 8,
) -> Representation:
    """Describe the features that were accumulated.

    Args:
        statistics: The statistics of all images.
        images: ``(n,)`` indices of the images of the sample, in the order of their ranks.
        labels: ``(n,)`` their classes, -1 if unknown; None without labels.
        classes: Names of the classes.
        bins: ``(n, M)`` their bins; None for methods without variables.
        criterion: SSL-HSIC's loss, whose kernel is shown; None for other methods.
        neighbours: Number of nearest images for each one; fewer if there are fewer.

    Returns:
        The description.
    """
    _, features, projections = statistics.sample()
    spectrum = statistics.spectrum()
    if labels is None:
        clusters = KMeans(min(_CLUSTERS, len(features)), n_init=1, random_state=0)
        group_of = clusters.fit_predict(normalize(features, dim=1).numpy()).astype(np.int64)
        names = [f"cluster {index}" for index in range(_CLUSTERS)]
    else:
        group_of, names = labels, classes
    groups = [int(group) for group in np.unique(group_of[group_of >= 0])]
    similarity, meaning = _similarity(features, projections, criterion)
    count = min(neighbours, len(images) - 1)
    return Representation(
        rankme=diagnostics.rankme(torch.diag(spectrum)),
        spectrum=spectrum[:_LARGEST_SPECTRUM].numpy(),
        alignment=statistics.alignment(),
        uniformity=diagnostics.uniformity(projections),
        groups=[names[group] for group in groups],
        gram=mean_similarity(similarity, group_of, groups),
        similarity=meaning,
        random_feature_error=None if criterion is None else random_feature_error(projections, criterion),
        map=_principal_components(features),
        map_images=images,
        neighbours_images=images,
        neighbours_by_features=images[_nearest(features.numpy(), "cosine", count)],
        neighbours_by_code=None if bins is None else images[_nearest(bins, "hamming", count)],
    )


def mean_similarity(similarity: Tensor, group_of: NDArray[np.int64], groups: list[int]) -> NDArray[np.float64]:
    """Mean similarity of two different images by their groups.

    Args:
        similarity: ``(n, n)`` between the images.
        group_of: ``(n,)`` group of each image.
        groups: The ``C`` groups to compare, each with at least one image.

    Returns:
        ``(C, C)``; for a group with a single image, its similarity with itself.
    """
    members = torch.from_numpy(group_of[:, None] == np.array(groups)).double()
    sizes = members.sum(dim=0)
    similarity = similarity.double()
    sums = members.T @ similarity @ members
    pairs = torch.outer(sizes, sizes)
    several = torch.diag((sizes > 1).double())
    # An image with itself is not a pair.
    sums -= several * (members.T @ similarity.diag())
    pairs -= several * sizes
    return (sums / pairs).numpy()


@torch.no_grad()
def random_feature_error(projections: Tensor, criterion: HSICLoss, seed: int = 0) -> float | None:
    """Relative error, in the Frobenius norm, of the random-feature Gram matrix of projections ``(n, d)``.

    Args:
        projections: Projections that the loss would see.
        criterion: The loss, for its kernel, scale, and number and kind of random features.
        seed: Seed of the draw.

    Returns:
        The error; None for a kernel that needs no random features.
    """
    if not criterion.kernel.has_spectrum:
        return None
    z, gram = _kernel_gram(projections, criterion)
    generator = torch.Generator().manual_seed(seed)
    draw = sample_random_features(
        criterion.kernel, criterion.num_features, z.shape[1], features=criterion.features, generator=generator
    )
    approximate = draw(z, criterion.scale.to(z))
    return float((approximate @ approximate.T - gram).norm() / gram.norm())


def _similarity(features: Tensor, projections: Tensor, criterion: HSICLoss | None) -> tuple[Tensor, str]:
    if criterion is None:
        z = normalize(features, dim=1)
        return z @ z.T, "cosine similarity of the features"
    kernel = type(criterion.kernel).__name__.removesuffix("Kernel")
    return _kernel_gram(projections, criterion)[1], f"{kernel} kernel of the projections"


def _kernel_gram(projections: Tensor, criterion: HSICLoss) -> tuple[Tensor, Tensor]:
    """The vectors ``(n, d)`` that the loss takes, and their Gram matrix ``(n, n)``."""
    z = normalize(projections, dim=1) if criterion.normalize else projections
    return z, criterion.kernel.gram(z, z, criterion.scale.to(z))


def _principal_components(features: Tensor) -> NDArray[np.float64]:
    components = min(2, *features.shape)
    found = PCA(components, random_state=0).fit_transform(features.double().numpy())
    return np.pad(found, ((0, 0), (0, 2 - components)))


def _nearest(vectors: NDArray[np.float32] | Bins, metric: str, count: int) -> NDArray[np.int64]:
    """Indices ``(n, count)`` of the nearest other rows."""
    search = NearestNeighbors(n_neighbors=count, metric=metric, algorithm="brute").fit(vectors)
    found: NDArray[np.int64] = search.kneighbors(return_distance=False)
    return found
