"""Loaders of a benchmark: training views, labelled training images for kNN's bank, and test images.

Batches are ``(views or images, labels, names)``, as of a LightlyDataset. Loader workers make them for a CPU. For a GPU
all images lie in its memory as uint8, and a batch of views is made there at once.
"""

from typing import Any, NamedTuple

import torch
from lightly.data import LightlyDataset
from lightly.transforms.multi_view_transform import MultiViewTransform
from torch.utils.data import DataLoader
from torchvision.transforms import v2 as T
from views import middle_of_an_image, normalize, to_float


class Loaders(NamedTuple):
    """The three loaders of a benchmark, and the number of its training images."""

    train: Any
    knn: Any
    test: Any
    train_images: int


def worker_loaders(open_split, views, batch_size, num_workers):
    """Loaders whose workers decode and transform one image at a time.

    Args:
        open_split: Makes the dataset of ``(image, label)`` from "train" or "test" and a transform of PIL images.
        views: The two random views.
        batch_size: Images in a batch of training views; about that many of the others.
        num_workers: Loader workers; 0 for none.
    """
    size = views[0].size
    still = T.Compose([middle_of_an_image(size), to_float, normalize])

    random_views = MultiViewTransform([view.of_an_image() for view in views])
    train, knn, test = (
        LightlyDataset.from_torch_dataset(open_split(split, transform))
        for split, transform in (("train", random_views), ("train", still), ("test", still))
    )
    return Loaders(
        DataLoader(train, batch_size, shuffle=True, drop_last=True, num_workers=num_workers),
        DataLoader(knn, still_batch(len(knn), batch_size), num_workers=num_workers),
        DataLoader(test, still_batch(len(test), batch_size), num_workers=num_workers),
        train_images=len(train),
    )


def device_loaders(open_split, views, stored_size, batch_size, num_workers, device):
    """Loaders of images that lie on ``device``, augmented there in batches.

    The middle ``stored_size`` pixels of each image are kept. The other arguments are those of `worker_loaders`.
    """
    size = views[0].size
    augmentations = [view.of_a_batch().to(device) for view in views]
    resize = T.Resize(size)

    def random_views(images):
        images = to_float(images)
        return [normalize(augment(images)).contiguous(memory_format=torch.channels_last) for augment in augmentations]

    def still(images):
        return normalize(to_float(resize(images)))

    splits = {}
    for split in ("train", "test"):
        dataset = open_split(split, middle_of_an_image(stored_size))
        parts = list(DataLoader(dataset, batch_size=batch_size, num_workers=num_workers))
        splits[split] = [torch.cat(tensors).to(device) for tensors in zip(*parts, strict=True)]

    def still_loader(split):
        return DeviceLoader(*splits[split], still_batch(len(splits[split][0]), batch_size), still, train=False)

    return Loaders(
        DeviceLoader(*splits["train"], batch_size, random_views, train=True),
        still_loader("train"),
        still_loader("test"),
        train_images=len(splits["train"][0]),
    )


def still_batch(images, batch_size):
    """The batch size for kNN: Lightly's BenchmarkModule squeezes a last batch of a single image away."""
    while images % batch_size == 1:
        batch_size += 1
    return batch_size


class DeviceLoader:
    """Batches of images ``(n, 3, H, W)`` and labels that lie on a device: shuffled whole ones to train, else all."""

    def __init__(self, images, labels, batch_size, transform, train):
        self.images, self.labels = images, labels
        self.batch_size, self.transform, self.train = batch_size, transform, train

    def __len__(self):
        return len(self.images) // self.batch_size if self.train else -(-len(self.images) // self.batch_size)

    def __iter__(self):
        n = len(self.images)
        order = (torch.randperm(n) if self.train else torch.arange(n)).to(self.images.device)
        for indices in order.split(self.batch_size)[: len(self)]:
            yield self.transform(self.images[indices]), self.labels[indices], indices
