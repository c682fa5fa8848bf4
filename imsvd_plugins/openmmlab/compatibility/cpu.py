"""Training on several CPU processes, which mmengine's own defaults do not support."""

from typing import Any

from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from torch import nn
from torch.nn import SyncBatchNorm


class CPUDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper for a model that stays on the CPU.

    torch's SyncBatchNorm does not run on the CPU, so BatchNorm replaces it, as in mmengine for a single process: each
    rank normalises by its own part of the batch.

    Args:
        module: The model.
        device_ids: Ignored: mmengine always gives one, torch allows none on the CPU.
        **kwargs: As for mmengine's class.
    """

    def __init__(self, module: nn.Module, device_ids: object = None, **kwargs: Any) -> None:
        if any(isinstance(layer, SyncBatchNorm) for layer in module.modules()):
            MMLogger.get_current_instance().warning(
                "SyncBatchNorm cannot run on the CPU: each rank normalises by its own part of the batch."
            )
            module = revert_sync_batchnorm(module)
        super().__init__(module=module, device_ids=None, **kwargs)
