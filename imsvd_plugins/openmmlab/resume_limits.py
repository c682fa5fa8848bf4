"""What stands against resuming a run exactly, for the log."""

from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook, SyncBuffersHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.nn import SyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm

from imsvd_plugins.seeded_batches import SeededBatchSampler


def of_config(runner: Runner) -> list[str]:
    """Reasons that a run has from its start."""
    reasons = []
    batches = runner.train_dataloader.batch_sampler
    if not isinstance(batches, SeededBatchSampler):
        reasons.append(
            "train_dataloader.batch_sampler is not of type imsvd_plugins.SeededBatchSampler, and the random states "
            "from which the views are drawn are in no checkpoint"
        )
    prefetches = isinstance(runner.train_loop, IterBasedTrainLoop) and runner.train_dataloader.num_workers > 0
    if prefetches and runner.cfg.get("randomness", {}).get("seed") is None:
        reasons.append(
            "randomness.seed is not set while train_cfg is by iteration, and loader workers begin with another order "
            "of the images before the checkpoint is read"
        )
    if isinstance(runner.train_loop, EpochBasedTrainLoop) and not all(
        hook.by_epoch for hook in checkpoint_hooks(runner)
    ):
        reasons.append(
            "default_hooks.checkpoint.by_epoch is False while train_cfg is by epoch, and mmengine starts an epoch "
            "that was interrupted again from its first image"
        )
    if get_world_size() > 1 and _norms_differ(runner):
        reasons.append(
            "each process has BatchNorm statistics of its own, of which a checkpoint holds the first one's; the "
            "weights will be the same, evaluations during training may differ a little. "
            "SyncBatchNorm, or dict(type='SyncBuffersHook') first in custom_hooks, prevents it"
        )
    return reasons


def of_checkpoint(runner: Runner, loaded: dict[str, Any] | None) -> list[str]:
    """Reasons that lie in the checkpoint; ``loaded`` is what ExactResumeHook has saved in it."""
    reasons = []
    if loaded is None:
        reasons.append("the checkpoint was written without ExactResumeHook, so it holds no random states")
    elif len(loaded["random_states"]) != get_world_size():
        reasons.append(
            f"the checkpoint is of {len(loaded['random_states'])} processes, and there are {get_world_size()}"
        )
    accumulated = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
    if runner.iter % accumulated:
        reasons.append(
            f"optim_wrapper.accumulative_counts is {accumulated}, and the checkpoint of iteration {runner.iter} does "
            "not hold the gradients accumulated since the last step"
        )
    return reasons


def checkpoint_hooks(runner: Runner) -> list[CheckpointHook]:
    """The hooks that save checkpoints."""
    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]


def sampler_of(runner: Runner) -> Any:
    """The sampler that gives the training images' order."""
    return getattr(runner.train_dataloader.batch_sampler, "sampler", runner.train_dataloader.sampler)


def _norms_differ(runner: Runner) -> bool:
    synchronized = any(isinstance(hook, SyncBuffersHook) for hook in runner.hooks)
    norms = (module for module in runner.model.modules() if isinstance(module, _BatchNorm))
    return not synchronized and not all(isinstance(norm, SyncBatchNorm) for norm in norms)
