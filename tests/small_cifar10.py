"""Real images for the slow tests that train: the small protocol's images, and how good a backbone's features are."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imsvd_plugins.data.packed import read_packed
from imsvd_plugins.evaluation.knn import knn_accuracy
from imsvd_plugins.lightly.data import cifar10_to_tensor
from imsvd_plugins.lightly.packed import PackedImages

VARIABLE = "IMSVD_PLUGINS_CIFAR10"
BENCHMARKS = Path(__file__).parents[1] / "lightly_examples" / "benchmarks"
GAIN = 0.08  # kNN accuracy that ten epochs of a recipe must add to random weights'


def write(folder: Path) -> Path:
    """The small protocol's 10,000 training images as "train" and its 5,000 validation images as "test"."""
    source = os.environ.get(VARIABLE)
    if source is None:
        pytest.skip(f"{VARIABLE} names no packed CIFAR-10: see lightly_examples/benchmarks/pack_cifar10.py")
    images = read_packed(source, "train")
    order = np.random.RandomState(0).permutation(len(images.labels))  # as split_indices of small_protocol.py
    content = {"classes": np.array(images.classes)}
    for split, indices in {"test": order[:5000], "train": order[5000:15000]}.items():
        files = [images.file(index).getvalue() for index in indices]
        content[f"{split}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        content[f"{split}_offsets"] = np.cumsum([0, *map(len, files)])
        content[f"{split}_labels"] = images.labels[indices]
    np.savez(folder / "small.npz", **content)
    return folder / "small.npz"


@torch.no_grad()
def knn20(backbone: nn.Module, packed: Path, transform=cifar10_to_tensor) -> float:
    """Accuracy of 20 nearest neighbours on the validation images, 0 to 1."""
    backbone.eval()
    sets = []
    for split in ("train", "test"):
        loader = torch.utils.data.DataLoader(PackedImages(packed, split, transform), batch_size=500)
        features, labels = zip(*((backbone(images), labels) for images, labels in loader), strict=True)
        features = [part[-1] if isinstance(part, tuple) else part for part in features]
        sets += [torch.cat(features).flatten(start_dim=2).mean(dim=2), torch.cat(labels)]
    return knn_accuracy(*sets, k=[20], temperature=0.1)[20]
