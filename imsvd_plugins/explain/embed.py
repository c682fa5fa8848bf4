"""Features and codes of images, batch by batch."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imsvd_plugins.explain.batches import batches
from imsvd_plugins.explain.encoder import Encoder
from imsvd_plugins.explain.forward import forward
from imsvd_plugins.explain.images import Images
from imsvd_plugins.functional import soft_discretize


class Embedding(NamedTuple):
    """A network's outputs for some images.

    Attributes:
        indices: Indices of the images.
        features: Features ``(n, d)``, float32.
        projections: Projections ``(n, D)``, float32; None for IMSVD, whose variables replace them, and without a
            projector.
        bins: The most probable bin ``(n, M)`` of each of IMSVD's variables, in the smallest unsigned type; None for
            other methods.
        bin_probabilities: The probability ``(n, M)`` of that bin, float32; None for other methods.
    """

    indices: list[int]
    features: NDArray[np.float32]
    projections: NDArray[np.float32] | None
    bins: NDArray[Any] | None
    bin_probabilities: NDArray[np.float32] | None


def embed(
    encoder: Encoder,
    images: Images,
    *,
    batch_size: int = 256,
    num_workers: int = 0,
    on_batch: Callable[[int, list[tuple[int, str]]], None] = lambda done, skipped: None,
) -> Iterator[Embedding]:
    """Pass the plain view of each image through the network, in the images' order.

    Args:
        encoder: The network.
        images: The images.
        batch_size: Images per batch.
        num_workers: Loader processes; 0 to load in this one.
        on_batch: Called after each batch with the number of its images and those that cannot be decoded, by index and
            reason.

    Raises:
        ValueError: If the images differ in size after the view, or the projections are not the criterion's variables.
    """
    for batch in batches(images, [encoder.plain], batch_size, num_workers):
        if batch.indices:
            yield _embedding(encoder, batch.indices, batch.views[0])
        on_batch(len(batch.indices) + len(batch.skipped), batch.skipped)


@torch.no_grad()
def _embedding(encoder: Encoder, indices: list[int], views: Tensor) -> Embedding:
    features, projections = forward(encoder, views)
    if projections is None or encoder.num_bins is None:
        return Embedding(indices, _array(features), None if projections is None else _array(projections), None, None)
    probabilities, bins = soft_discretize(projections, encoder.num_bins, encoder.temperature).max(dim=2)
    kind = np.min_scalar_type(encoder.num_bins - 1)
    return Embedding(indices, _array(features), None, bins.cpu().numpy().astype(kind), _array(probabilities))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.float().cpu().numpy()
