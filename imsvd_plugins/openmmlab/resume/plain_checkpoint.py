"""Checkpoints that every program can load."""

from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner


class PlainCheckpointHook(Hook):
    """Saves the training curves as tensors and numbers, so that a checkpoint needs no class of mmengine's or numpy's.

    Upstream mmengine saves them as objects, which ``torch.load`` refuses since torch 2.6: ``resume``, ``load_from`` and
    ``init_cfg=dict(type='Pretrained')`` fail, also in mmdet and mmsegmentation. With this hook they work, also in
    programs without this package. A run that resumes with the hook gets its curves back. A run without the hook can
    resume too; mmengine then starts each curve again and says so.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace the objects."""
        hub = checkpoint["message_hub"]
        hub["log_scalars"] = {name: _plain_curve(curve) for name, curve in hub["log_scalars"].items()}
        hub["runtime_info"] = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in hub["runtime_info"].items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Make the objects again before the runner loads them."""
        curves = checkpoint.get("message_hub", {}).get("log_scalars", {})
        for name, curve in curves.items():
            if isinstance(curve, dict):
                curves[name] = HistoryBuffer(
                    curve["log_history"].cpu().numpy(), curve["count_history"].cpu().numpy(), curve["max_length"]
                )


def _plain_curve(curve: HistoryBuffer) -> dict[str, Any]:
    log, counts = curve.data
    return {
        "log_history": torch.from_numpy(log),
        "count_history": torch.from_numpy(counts),
        "max_length": curve.max_length,
    }
