"""Features of a whole dataset."""

import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from imsvd_plugins.openmmlab.errors import ConfigValueError

_SECONDS_BETWEEN_LINES = 10.0


@torch.no_grad()
def extract_features(model: Any, dataloader: DataLoader[Any], name: str) -> tuple[Tensor, Tensor]:
    """Features and labels of all images of a data loader, by the model's own ``extract_feat``.

    Args:
        model: An mmpretrain model, self-supervised or a classifier, already in the mode in which it is to compute.
        dataloader: Gives batches ``dict(inputs, data_samples)``, with one view of each image and its ``gt_label``.
        name: Name of the images in the progress bar or, without a terminal, in the log.

    Returns:
        Features ``(n, d)``, float32, and labels ``(n,)``, both on the model's device.

    Raises:
        ValueError: If the images have no label.
    """
    logger = MMLogger.get_current_instance()
    features, labels = [], []
    shown = time.monotonic()
    # On a terminal two displays would overwrite each other; a FileProxy means that another one is active.
    on_terminal = is_main_process() and sys.stderr.isatty() and not isinstance(sys.stderr, FileProxy)
    bar = track(dataloader, name, console=Console(stderr=True), transient=True, disable=not on_terminal)
    for index, batch in enumerate(bar, start=1):
        data = model.data_preprocessor(batch, False)
        features.append(pooled(model.extract_feat(data["inputs"])).float())
        for sample in data["data_samples"]:
            if "gt_label" not in sample:
                raise ConfigValueError(f"the dataset of {name} must give a gt_label for each image: see its pipeline.")
            labels.append(sample.gt_label)
        if not on_terminal and time.monotonic() - shown > _SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            logger.info("Features of %s: batch %d of %d", name, index, len(dataloader))
    return torch.cat(features), torch.cat(labels).to(features[0].device)


def pooled(features: Tensor | Sequence[Tensor]) -> Tensor:
    """One vector per image: the last stage's, averaged over positions ``(N, C, H, W)`` or tokens ``(N, L, C)``."""
    last = features if isinstance(features, Tensor) else features[-1]
    if last.ndim == 4:
        return last.mean(dim=(2, 3))
    if last.ndim == 3:
        return last.mean(dim=1)
    return last
