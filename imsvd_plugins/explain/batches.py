"""Views of images in batches, in the images' order. Images that cannot be decoded are left out and named."""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import pairwise
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from imsvd_plugins.explain.encoder import View
from imsvd_plugins.explain.images import Images, UnreadableImageError
from imsvd_plugins.explain.seeded import seeded


class Batch(NamedTuple):
    """Some images.

    Attributes:
        indices: Indices of the images.
        views: For each kind of view the images' tensor ``(n, C, H, W)``; without images, no tensors.
        skipped: Index and reason of each image that cannot be decoded.
    """

    indices: list[int]
    views: list[Tensor]
    skipped: list[tuple[int, str]]


def batches(
    images: Images, views: Sequence[View], batch_size: int, num_workers: int, seed: int | None = None
) -> Iterator[Batch]:
    """Decode each image once, and yield views of them.

    Args:
        images: The images.
        views: The views of each image, in this order.
        batch_size: Images that are decoded for a batch.
        num_workers: Loader processes; 0 to load in this one.
        seed: Random views of an image depend only on this and on the image's index; None for deterministic views.

    Raises:
        ValueError: If views of one kind differ in size, so that they make no batch.
    """
    loader: DataLoader[Any] = DataLoader(
        _Views(images, views, seed),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_collate,
        worker_init_fn=_quiet_when_interrupted,
        # Its own generator, because a loader would draw from the program's.
        generator=torch.Generator(),
    )
    # Otherwise the garbage collector, here or in a worker, writes to all objects, which the workers share until then.
    gc.freeze()
    try:
        for batch in loader:
            if isinstance(batch, _Differing):
                name = images.names[batch.at]
                raise ValueError(
                    f"all images must be of one size here, because the training's views do not resize them: {name!r} "
                    f"gives {batch.shape}, and an image before it {batch.before}. Give --size, the pixels of a side."
                )
            yield batch
    finally:
        gc.unfreeze()


def _quiet_when_interrupted(worker: int) -> None:
    """Keep workers quiet after Ctrl-C: the program no longer takes their tensors, and they would print tracebacks."""

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not issubclass(kind, ConnectionError):
            sys.__excepthook__(kind, error, traceback)

    sys.excepthook = hook


class _Differing(NamedTuple):
    at: int
    shape: tuple[int, ...]
    before: tuple[int, ...]


class _Views(Dataset[Any]):
    def __init__(self, images: Images, views: Sequence[View], seed: int | None) -> None:
        self.images = images
        self.views = views
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[int, list[Tensor], str]:
        try:
            image = self.images[index]
        except UnreadableImageError as error:
            return index, [], error.reason
        with nullcontext() if self.seed is None else seeded(self.seed * 1_000_003 + index):
            return index, [view(image) for view in self.views], ""


def _collate(items: list[tuple[int, list[Tensor], str]]) -> Batch | _Differing:
    readable = [(index, views) for index, views, reason in items if not reason]
    skipped = [(index, reason) for index, _, reason in items if reason]
    for before, (index, views) in pairwise(readable):
        for earlier, view in zip(before[1], views, strict=True):
            if earlier.shape != view.shape:
                # An error raised in a loader's process would carry its traceback.
                return _Differing(index, tuple(view.shape), tuple(earlier.shape))
    stacked = [torch.stack(column) for column in zip(*(views for _, views in readable), strict=True)]
    return Batch([index for index, _ in readable], stacked, skipped)
