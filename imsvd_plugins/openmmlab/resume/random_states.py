"""The states of all random generators that a training draws from; ``resume_hook.py`` saves and restores them."""

import random
from typing import Any

import numpy as np
import torch


def get_random_states() -> dict[str, Any]:
    """The states of Python's, numpy's, torch's and, where there is one, the current GPU's generator.

    Returns:
        Plain numbers and tensors, which torch loads from a checkpoint without trusting it.
    """
    state: Any = np.random.get_state()  # noqa: NPY002  (what mmcv's transforms use)
    algorithm, keys, *position = state
    return {
        "python": random.getstate(),
        "numpy": (algorithm, keys.tolist(), *position),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Restore what :func:`get_random_states` returned, on whichever device a checkpoint's loading has put it."""
    random.setstate(states["python"])
    algorithm, keys, *position = states["numpy"]
    np.random.set_state((algorithm, np.array(keys, dtype=np.uint32), *position))  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())
