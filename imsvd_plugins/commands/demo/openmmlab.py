"""mmpretrain's part of the demo: a shipped digits config, run by mmengine's own runner."""

import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, find_latest_checkpoint
from mmengine.runner.utils import set_random_seed
from torch import Tensor, nn

from imsvd_plugins.commands.demo.demo_run import DemoRun, OnEpoch
from imsvd_plugins.openmmlab.errors import ConfigError
from imsvd_plugins.openmmlab.evaluation.features import extract_features
from imsvd_plugins.openmmlab.shipped_configs import resolve_config
from imsvd_plugins.registry import MODELS

CONFIGS = {
    "imsvd": "imsvd_resnet14-w24_1xb256-coslr-60e_digits",
    "ssl-hsic": "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits",
}
# Logged values that do not belong to the objective.
_NOT_CURVES = ("lr", "base_lr", "time", "data_time", "memory", "grad_norm")


def pretrain(method: str, work_dir: Path, *, resume: bool, epochs: int | None, on_epoch: OnEpoch) -> DemoRun:
    """Pretrain on digits with mmpretrain. The log goes to its file, warnings also to the terminal.

    Args:
        method: "imsvd" or "ssl-hsic".
        work_dir: Where checkpoints and log go.
        resume: Whether to resume from the last checkpoint in ``work_dir``; without one, training starts from scratch.
        epochs: Epochs of pretraining; None for the recipe's own.
        on_epoch: Called after each epoch.

    Returns:
        Features before and after pretraining, the curves, and the paths of checkpoint and log.

    Raises:
        SystemExit: If there are checkpoints to resume from, but none of them is whole.
    """
    cfg = Config.fromfile(resolve_config(CONFIGS[method]))
    cfg.work_dir = str(work_dir)
    if epochs is not None:
        cfg.train_cfg.max_epochs = epochs
    # A run that was killed just after its first checkpoint has no last_checkpoint.
    checkpoints = [path for name in ("last_checkpoint", "epoch_*.pth") for path in work_dir.glob(name)]
    if resume and not checkpoints:
        print(f"No checkpoint in {work_dir}: the training starts anew.")
    if not resume:
        # Otherwise a new run that is interrupted before its first checkpoint would resume from an older run's last one.
        for path in checkpoints:
            path.unlink()
    # ExactResumeHook chooses the checkpoint.
    cfg.resume = resume and bool(checkpoints)

    # The weights' initialization is logged before there is a log file.
    if not MMLogger.check_instance_created("demo"):
        MMLogger.get_instance("demo", log_level="WARNING")
    # The runner sets the seed again afterwards, so the untrained network's features do not change the training.
    init_default_scope(cfg.default_scope)
    set_random_seed(cfg.randomness.seed)
    untrained = MODELS.build(cfg.model)
    untrained.init_weights()
    random_features = _features(untrained, cfg)

    runner = _QuietRunner.from_cfg(cfg)
    runner.register_hook(_EpochHook(on_epoch))
    try:
        runner.train()
    except ConfigError as error:
        raise SystemExit(f"imsvd-plugins demo: {error}") from None
    return DemoRun(
        random_features=random_features,
        trained_features=_features(runner.model, cfg),
        curves=_curves(runner.message_hub, iterations=len(runner.train_dataloader)),
        checkpoint=Path(find_latest_checkpoint(work_dir)),
        log=Path(runner.log_dir, f"{runner.timestamp}.log"),
    )


class _QuietRunner(Runner):
    """Leaves the terminal to the progress display."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the runner's logger; its file still gets everything."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.WARNING)
                # mmengine warns mmengine's own CheckpointHook of a deprecated call.
                handler.addFilter(lambda record: "will be deprecated in future" not in record.getMessage())
        return logger


class _EpochHook(Hook):
    def __init__(self, on_epoch: OnEpoch) -> None:
        self._on_epoch = on_epoch

    def after_train_epoch(self, runner: Runner) -> None:
        loss = runner.message_hub.get_scalar("train/loss").mean(len(runner.train_dataloader))
        self._on_epoch(runner.epoch + 1, runner.max_epochs, float(loss))


def _features(model: nn.Module, cfg: Any) -> tuple[Tensor, Tensor]:
    """Features of the training and of the test digits, in order."""
    model.eval()
    features = []
    for split in ("train", "test"):
        dataloader = Runner.build_dataloader(
            {
                "batch_size": 256,
                "num_workers": 0,
                "dataset": dict(cfg.knn_dataset, split=split),
                "sampler": {"type": "DefaultSampler", "shuffle": False},
                "collate_fn": {"type": "default_collate"},
            }
        )
        features.append(extract_features(model, dataloader, f"{split} digits")[0].cpu())
    return features[0], features[1]


def _curves(hub: MessageHub, iterations: int) -> dict[str, list[float]]:
    """One value per epoch: each term's mean over its iterations, and the accuracy after it."""
    steps = len(hub.get_scalar("train/loss").data[0])
    curves = {}
    for key, scalar in hub.log_scalars.items():
        prefix, _, name = key.partition("/")
        values = torch.as_tensor(scalar.data[0])
        if key == "metrics/knn_top1":
            curves[name] = values.tolist()
        elif prefix == "train" and name not in _NOT_CURVES and len(values) == steps:
            curves[name] = values.view(-1, iterations).mean(dim=1).tolist()
    return curves
