"""Finds what would stop a training, or let it learn nothing, before its first step. Each error is one line.

mmengine and torch notice most of these mistakes too, but later and by their consequences.
"""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler, pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import FUNCTIONS
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor, nn
from torch.utils.data import DataLoader

from imsvd_plugins.evaluation.mode import evaluation_mode
from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.openmmlab.compatibility.hue_jitter import check_hue_jitter
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.methods.building import class_of
from imsvd_plugins.openmmlab.training.datasets import check_datasets, is_missing
from imsvd_plugins.training.input_channels import input_channels


def check_config(cfg: Any) -> None:
    """Check the config alone, before any data is loaded.

    Raises:
        ConfigValueError: If a file or folder is missing, if a schedule does not fit the length of the training, if the
            images are collated in a way that a self-supervised algorithm cannot use, or if they get a hue jitter that
            the installed mmcv cannot do.
    """
    for check in (_check_weights, check_datasets, _check_collation, _check_schedule_by_epoch, check_hue_jitter):
        check(cfg)


def _check_weights(cfg: Any) -> None:
    """Check that initial weights exist."""
    for key, part in _parts("model", cfg.get("model")):
        if part.get("type") == "Pretrained" and is_missing(part.get("checkpoint")):
            raise ConfigValueError(
                f"{key}.checkpoint must be a checkpoint's file, and {part.get('checkpoint')!r} is none: "
                f"--cfg-options {key}.checkpoint=FILE."
            )
    if cfg.get("load_from") is not None and is_missing(cfg.load_from):
        raise ConfigValueError(f"load_from must be a checkpoint's file, and {cfg.load_from!r} is none.")


def _parts(key: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """All dicts in a config, each with its key."""
    if isinstance(value, dict):
        yield key, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from _parts(f"{key}.{name}", child)


def _check_collation(cfg: Any) -> None:
    """Check that each view is one tensor of the whole batch, as self-supervised algorithms need it."""
    algorithm, loader = class_of(cfg.get("model")), cfg.get("train_dataloader")
    if algorithm is None or not issubclass(algorithm, BaseSelfSupervisor) or not isinstance(loader, dict):
        return
    if "drop_last" in loader and "batch_sampler" in loader:
        raise ConfigValueError(
            f"train_dataloader.drop_last ({loader['drop_last']}) has no effect beside a batch_sampler: set "
            "train_dataloader.batch_sampler.drop_last."
        )
    kind = (loader.get("collate_fn") or {"type": "pseudo_collate"}).get("type")
    if (FUNCTIONS.get(kind) if isinstance(kind, str) else kind) is pseudo_collate:
        raise ConfigValueError(
            f"train_dataloader.collate_fn must be dict(type='default_collate') for {algorithm.__name__}, got "
            "pseudo_collate, which is also mmengine's default: it makes no batch of the views."
        )


def _check_schedule_by_epoch(cfg: Any) -> None:
    """Check that schedules in epochs fit into the training."""
    epochs = (cfg.get("train_cfg") or {}).get("max_epochs")
    if epochs is not None:
        check_schedules(cfg, by_epoch=True, name="train_cfg.max_epochs", length=epochs)


def check_schedules(cfg: Any, *, by_epoch: bool, name: str, length: int) -> None:
    """Check that schedules begin within the training, and warn of those that do not get to their end.

    Args:
        cfg: The whole config.
        by_epoch: Which schedules: those that count epochs, or those that count iterations.
        name: Name of the training's length in messages.
        length: The length.

    Raises:
        ConfigValueError: If a schedule begins after its end or, without an end of its own, after the training.
    """
    schedulers = cfg.get("param_scheduler")
    # A dict without a type holds the schedules of several optimizers.
    listed = schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]
    for index, scheduler in enumerate(listed):
        if not isinstance(scheduler, dict) or scheduler.get("by_epoch", True) is not by_epoch:
            continue
        key = f"param_scheduler.{index}"
        begin, end = scheduler.get("begin", 0), scheduler.get("end")
        if end is not None and begin >= end:
            raise ConfigValueError(
                f"{key}.begin of {scheduler.get('type')} must be smaller than {key}.end ({end}), got {begin}."
            )
        if end is None and begin >= length:
            raise ConfigValueError(
                f"{key}.begin of {scheduler.get('type')} must be smaller than {name} ({length}), got {begin}: train "
                "longer, or shorten the warm-up with this begin and the end of the scheduler before."
            )
        milestones = scheduler.get("milestones") or ()
        for setting, value in (("end", end or 0), ("milestones", max(milestones, default=0))):
            if value > length:
                MMLogger.get_current_instance().warning(
                    f"{key}.{setting} of {scheduler.get('type')} is {value}, and the training ends at {length} "
                    f"({name}): the schedule does not get to its end."
                )


def check_model(model: nn.Module, cfg: Any) -> None:
    """Check that the neck fits the backbone's actual output, without computing it.

    Only necks with ``with_avg_pool``, such as NonLinearNeck, are checked: the inputs of others are not known.

    Args:
        model: The built model.
        cfg: Its config, ``model`` of the whole config.

    Raises:
        ConfigValueError: If it does not fit.
    """
    config = cfg.get("neck") if isinstance(cfg, dict) else None
    width = config.get("in_channels") if isinstance(config, dict) else None
    backbone = getattr(model, "backbone", None)
    outputs = _outputs(backbone) if isinstance(width, int) and isinstance(backbone, nn.Module) else None
    if width is None or outputs is None or not hasattr(model.neck, "with_avg_pool"):
        return
    backbone, neck = type(backbone).__name__, type(model.neck).__name__
    if len(outputs) > 1:
        raise ConfigValueError(
            f"model.backbone.out_indices of {backbone} must name one stage, because {neck} takes one output, got "
            f"{len(outputs)}."
        )
    shape, pooled = tuple(outputs[0].shape), model.neck.with_avg_pool
    if len(shape) == 3:
        raise ConfigValueError(
            f"model.backbone.out_type of {backbone} must be 'cls_token' or 'avg_featmap', with "
            f"model.neck.with_avg_pool=False: it gives all {shape[1]} tokens, which {neck} does not take."
        )
    if len(shape) == 2 and pooled:
        raise ConfigValueError(
            f"model.neck.with_avg_pool must be False for {backbone}, which gives one vector an image: "
            "there are no places to average over, got True."
        )
    # Without pooling the width depends on the size of the images, which is not known here.
    if width != shape[1] and not (len(shape) == 4 and not pooled):
        raise ConfigValueError(
            f"model.neck.in_channels must be the width of the backbone's output, {shape[1]} of {backbone}, got {width}."
        )


def _outputs(backbone: nn.Module) -> list[Tensor] | None:
    """The backbone's outputs for two images on torch's meta device; None if they cannot be computed there."""
    state = {name: value.to("meta") for name, value in backbone.state_dict(keep_vars=True).items()}
    size = getattr(backbone, "img_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    images = torch.empty(2, input_channels(backbone) or 3, height, width, device="meta")
    try:
        with torch.no_grad(), evaluation_mode(backbone):
            outputs = torch.func.functional_call(backbone, state, (images,))
    except Exception:  # A backbone may run any code: the first step will tell.
        return None
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    known = isinstance(outputs, (list, tuple)) and outputs and all(isinstance(output, Tensor) for output in outputs)
    return list(outputs) if known else None


def check_batches(dataloader: DataLoader[Any], model: nn.Module, processes: int) -> None:
    """Check that a training has steps, and that these losses can learn from each batch.

    Args:
        dataloader: The data loader of the training images.
        model: The model.
        processes: Number of processes.

    Raises:
        ConfigValueError: If the dataset is smaller than the batch, or a batch has one image.
    """
    batches: Any = dataloader.batch_sampler
    if not all(hasattr(batches, name) for name in ("batch_size", "drop_last", "sampler")):
        return  # Another package's sampler, which makes batches in a way of its own.
    count, batch = len(dataloader.dataset), batches.batch_size  # type: ignore[arg-type]
    losses = [module for module in model.modules() if isinstance(module, (IMSVDLoss, HSICLoss))]
    if isinstance(batches.sampler, InfiniteSampler):
        count = max(count, batch * processes)
    elif len(dataloader) == 0 or (losses and count < batch * processes):
        least, fitting = "no step" if len(dataloader) == 0 else "no full batch", count // processes
        shown = f"{batch} x {processes} {'process' if processes == 1 else 'processes'}"
        raise ConfigValueError(
            f"train_dataloader.dataset has {count} images, fewer than the global batch ({shown}), so an epoch has "
            f"{least}: {f'set train_dataloader.batch_size to {fitting} or less' if fitting > 1 else 'add images'}."
        )
    if losses and batch * processes < 2:
        raise ConfigValueError("train_dataloader.batch_size must be at least 2: the loss is a statistic of the batch.")
    if losses and processes == 1 and not batches.drop_last and count % batch == 1:
        place = "" if dataloader.batch_size is not None else "batch_sampler."
        raise ConfigValueError(
            f"train_dataloader.{place}drop_last must be True: of {count} images the last batch of {batch} has one, and "
            "the loss is a statistic of the batch."
        )
    for loss in losses:
        if isinstance(loss, IMSVDLoss):
            samples = batch * processes if loss.gather_distributed else batch
            loss.check_bins(samples, MMLogger.get_current_instance().warning)
