"""Batches of views."""

import gc

import pytest
from torchvision.transforms.functional import pil_to_tensor

from imsvd_plugins.explain.batches import batches
from imsvd_plugins.explain.images import open_images


@pytest.mark.parametrize("workers", [0, 2])
def test_the_collector_leaves_shared_objects_alone_while_batches_come(workers):
    images = batches(open_images("digits"), [pil_to_tensor], 32, workers)
    next(images)
    assert gc.get_freeze_count() > 1000
    images.close()  # as a consumer's error does
    assert gc.get_freeze_count() == 0
