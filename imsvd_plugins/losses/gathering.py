"""What the losses share: the choice between this rank's batch and the global batch."""

import copy
from typing import Any

from torch import nn

from imsvd_plugins.distributed import GroupOrMesh, resolve_group
from imsvd_plugins.functional._checks import check_gather_distributed


class GatheringLoss(nn.Module):
    """A loss of this rank's batch or, if it gathers, of the batch of all ranks of a process group.

    Attributes:
        gather_distributed: Whether it gathers.
        process_group: The ranks; None for the default group. It may be set until the first forward, for a model that
            is built before its process group.
    """

    def __init__(self, gather_distributed: bool, process_group: GroupOrMesh | None) -> None:
        super().__init__()
        check_gather_distributed(gather_distributed)
        resolve_group(process_group)  # raises if it is none
        self.gather_distributed = gather_distributed
        self.process_group = process_group

    def __deepcopy__(self, memo: dict[int, Any]) -> "GatheringLoss":
        """A copy in the same process group, which belongs to the process and cannot be copied."""
        memo[id(self.process_group)] = self.process_group
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        vars(copied).update(copy.deepcopy(vars(self), memo))
        return copied
