"""Two augmented views and a plain one of each image, the same however the images are divided into batches."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from imsvd_plugins.explain.encoder import Encoder
from imsvd_plugins.explain.images import Images, UnreadableImageError


class ViewBatch(NamedTuple):
    """Views of the images of a batch that could be read.

    Attributes:
        positions: Index of each image that could be read.
        views: ``(3, N, C, H, W)``: a first and a second augmented view, and the plain view.
        unreadable: ``(name, reason)`` of each image that could not.
    """

    positions: list[int]
    views: Tensor
    unreadable: list[tuple[str, str]]


class Views(Dataset[tuple[int, Tensor] | UnreadableImageError]):
    """Views of images, as a network's checkpoint has them.

    Args:
        images: The images.
        encoder: The network.
        seed: The augmented views of an image depend on this and on the image's index alone.
    """

    def __init__(self, images: Images, encoder: Encoder, seed: int) -> None:
        self._images, self._plain, self._augment, self._seed = images, encoder.plain, encoder.augment, seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, position: int) -> tuple[int, Tensor] | UnreadableImageError:
        try:
            image = self._images[position]
        except UnreadableImageError as error:
            return error
        with _seeded(self._seed * 1_000_003 + position):
            return position, torch.stack([self._augment(image), self._augment(image), self._plain(image)])


def load_views(images: Images, encoder: Encoder, *, batch_size: int, num_workers: int, seed: int) -> DataLoader[Any]:
    """A loader of the views of all images, in their order: it gives a :class:`ViewBatch` at a time."""
    views = Views(images, encoder, seed)
    # A generator of its own, because a loader draws from the program's.
    generator = torch.Generator()
    return DataLoader(views, batch_size, num_workers=num_workers, collate_fn=_collate, generator=generator)


def _collate(found: list[tuple[int, Tensor] | UnreadableImageError]) -> ViewBatch:
    read = [each for each in found if not isinstance(each, UnreadableImageError)]
    unreadable = [(each.name, each.reason) for each in found if isinstance(each, UnreadableImageError)]
    views = torch.stack([each for _, each in read], dim=1) if read else torch.empty(3, 0)
    return ViewBatch([position for position, _ in read], views, unreadable)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Inside, all generators that transforms draw from begin at the seed; outside they go on as if nothing had been."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  (what mmcv's transforms use)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
