"""Lets current torch read the checkpoints of upstream mmengine."""

from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def allow() -> None:
    """Declare what mmengine's checkpoints hold beside tensors as safe to load.

    Since torch 2.6 ``torch.load`` refuses every class that has not been declared safe, and mmengine 0.10.7 calls it
    without saying otherwise: ``resume``, ``load_from`` and ``init_cfg=dict(type='Pretrained')`` fail, because a
    checkpoint's message hub holds the curves as ``HistoryBuffer`` with numpy arrays inside. The declaration lasts for
    the process; a config that loads a checkpoint names this package in ``custom_imports``, which mmengine obeys before
    it loads anything. (The onedl forks load checkpoints another way and do not need it.)
    """
    if torch.__version__ < "2.6":
        return
    reconstruct: Any = np.array(0).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            # A HistoryBuffer is saved with its methods, as getattr(HistoryBuffer, "mean"); getattr itself is not safe.
            (_history_method, "builtins.getattr"),
            np.ndarray,
            np.dtype,
            *[type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32")],
            # Numpy 2 moved these two; a checkpoint names them as the numpy that wrote it did.
            *[(reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("_core", "core")],
            *[(scalar, f"numpy.{core}.multiarray.scalar") for core in ("_core", "core")],
        ]
    )


def _history_method(owner: object, name: str) -> Any:
    if owner is not HistoryBuffer or name not in ("min", "max", "current", "mean"):
        raise UnpicklingError(f"The checkpoint asks for getattr({owner!r}, {name!r}), which none of mmengine's does.")
    return getattr(HistoryBuffer, name)
