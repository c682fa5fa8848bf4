"""What a host's part of the demo returns."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

OnEpoch = Callable[[int, int, float], None]  # takes the epochs done, all epochs, and the last one's mean loss


class DemoRun(NamedTuple):
    """A finished pretraining on digits.

    Attributes:
        random_features: The untrained backbone's features ``(n, d)`` of the training and of the test images.
        trained_features: The same of the pretrained backbone.
        curves: The loss and each of its terms by name, one value per epoch since the first start.
        checkpoint: The host's last checkpoint.
        log: The host's own log of the training, a file or a folder.
    """

    random_features: tuple[Tensor, Tensor]
    trained_features: tuple[Tensor, Tensor]
    curves: dict[str, list[float]]
    checkpoint: Path
    log: Path
