"""Random views that do not depend on how images are divided into batches."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, all generators that transforms draw from start at the seed; afterwards their state is restored."""
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
