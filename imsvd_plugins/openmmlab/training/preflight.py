"""What would stop a training, or let it learn nothing: found before its first step, and said in one line.

mmengine and torch notice most of it too, but later and by the consequences.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler, pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import FUNCTIONS
from mmpretrain.datasets import CustomDataset
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor, nn
from torch.utils.data import DataLoader

from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.openmmlab.compatibility.hue_jitter import check_hue_jitter
from imsvd_plugins.openmmlab.errors import ConfigValueError
from imsvd_plugins.openmmlab.evaluation.mode import evaluation_mode
from imsvd_plugins.openmmlab.methods.building import class_of
from imsvd_plugins.registry import DATASETS
from imsvd_plugins.training.input_channels import input_channels

# Cells of a joint distribution for each sample of the batch; the papers' recipes have up to 3.1.
_CELLS_PER_SAMPLE = 4


def check_config(cfg: Any) -> None:
    """Check what the config alone tells, before any data is loaded.

    Raises:
        ConfigValueError: If a file or folder is missing, a schedule does not fit the length of the training, or the
            images are collated in a way that a self-supervised algorithm does not know, or get a hue jitter that the
            installed mmcv cannot do.
    """
    for check in (_check_weights, _check_images, _check_collation, _check_schedule_by_epoch, check_hue_jitter):
        check(cfg)


def _check_weights(cfg: Any) -> None:
    """Weights to begin with are there."""
    for key, part in _parts("model", cfg.get("model")):
        if part.get("type") == "Pretrained" and _is_missing(part.get("checkpoint")):
            raise ConfigValueError(
                f"{key}.checkpoint must be a checkpoint's file, and {part.get('checkpoint')!r} is none: "
                f"--cfg-options {key}.checkpoint=FILE."
            )
    if cfg.get("load_from") is not None and _is_missing(cfg.load_from):
        raise ConfigValueError(f"load_from must be a checkpoint's file, and {cfg.load_from!r} is none.")


def _parts(key: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """All dicts in a config, each with its key."""
    if isinstance(value, dict):
        yield key, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from _parts(f"{key}.{name}", child)


def _is_missing(path: Any) -> bool:
    return isinstance(path, str) and "://" not in path and not (path and Path(path).expanduser().exists())


def _check_images(cfg: Any) -> None:
    """The folders and lists of mmpretrain's datasets of image files are there, those of evaluations too."""
    for key, config in datasets_of(cfg):
        found = DATASETS.get(config["type"]) if isinstance(config.get("type"), str) else config.get("type")
        if not (isinstance(found, type) and issubclass(found, CustomDataset)):
            continue  # Others have lists of their own, which some download.
        dataset = DATASETS.build({**config, "pipeline": [], "lazy_init": True})
        if dataset.ann_file and _is_missing(dataset.ann_file):
            raise ConfigValueError(f"{key}.ann_file: there is no file {dataset.ann_file}.")
        folder = dataset.img_prefix
        if folder and _is_missing(folder):
            raise ConfigValueError(f"{key}: there is no folder {folder}; see data_root, data_prefix and split.")
        if dataset.ann_file or "://" in folder:
            continue
        pattern = "*/**/*" if dataset.with_label else "**/*"
        if not any(dataset.is_valid_file(path.name) for path in Path(folder).expanduser().glob(pattern)):
            kind = "a folder for each class with images" if dataset.with_label else "images"
            raise ConfigValueError(f"{key}: {folder} must hold {kind} ({', '.join(sorted(dataset.extensions))}).")
        count = sum(path.is_dir() for path in Path(folder).expanduser().iterdir())
        if dataset.with_label and dataset.CLASSES is not None and len(dataset.CLASSES) != count:
            raise ConfigValueError(
                f"{key}: {folder} must have a folder for each of the {len(dataset.CLASSES)} classes of "
                f"{found.__name__}, got {count}; for other classes take type='CustomDataset'."
            )


def datasets_of(cfg: Any) -> Iterator[tuple[str, Any]]:
    """The configs of all datasets that a training reads, each with its key."""
    places = [("", cfg), *((f"custom_hooks.{i}.", hook) for i, hook in enumerate(cfg.get("custom_hooks") or []))]
    for prefix, place in places:
        for name in ("train_dataloader", "val_dataloader", *(["test_dataloader"] if prefix else [])):
            loader = place.get(name) if isinstance(place, dict) or not prefix else None
            key, part = f"{prefix}{name}", loader
            # A wrapper's dataset is a dataset too.
            while isinstance(part, dict) and isinstance(part.get("dataset"), dict):
                key, part = f"{key}.dataset", part["dataset"]
                yield key, part


def _check_collation(cfg: Any) -> None:
    """Each view is one tensor of the whole batch, as self-supervised algorithms have it."""
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
    """Schedules that are given in epochs fit into the training."""
    epochs = (cfg.get("train_cfg") or {}).get("max_epochs")
    if epochs is not None:
        check_schedules(cfg, by_epoch=True, name="train_cfg.max_epochs", length=epochs)


def check_schedules(cfg: Any, *, by_epoch: bool, name: str, length: int) -> None:
    """Check that schedules begin within the training; one that does not get to its end is a warning.

    Args:
        cfg: The whole config.
        by_epoch: Which schedules: those that count epochs, or those that count iterations.
        name: What the length of the training is called.
        length: The length.

    Raises:
        ConfigValueError: If one begins after its end, or without an end of its own after the training.
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
    """Check that the neck takes what the backbone really gives, without computing it.

    Only of necks with ``with_avg_pool``, such as NonLinearNeck, is it known what they take.

    Args:
        model: The built model.
        cfg: Its config, ``model`` of the whole config.

    Raises:
        ConfigValueError: If it does not.
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
    """What the backbone gives for two images, on torch's meta device; None if that cannot be told there."""
    state = {name: value.to("meta") for name, value in backbone.state_dict(keep_vars=True).items()}
    size = getattr(backbone, "img_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    images = torch.empty(2, input_channels(backbone) or 3, height, width, device="meta")
    try:
        with torch.no_grad(), evaluation_mode(backbone):
            outputs = torch.func.functional_call(backbone, state, (images,))
    except Exception:  # Any code of any backbone's author: the first step will tell.
        return None
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    known = isinstance(outputs, (list, tuple)) and outputs and all(isinstance(output, Tensor) for output in outputs)
    return list(outputs) if known else None


def check_batches(dataloader: DataLoader[Any], model: nn.Module, processes: int) -> None:
    """Check that a training has steps, and each of them a batch from which these losses learn.

    Args:
        dataloader: Of the training images.
        model: The model.
        processes: How many there are.

    Raises:
        ConfigValueError: If the dataset is smaller than the batch, or a batch has one image.
    """
    batches: Any = dataloader.batch_sampler
    if not all(hasattr(batches, name) for name in ("batch_size", "drop_last", "sampler")):
        return  # Another package's, which makes batches in a way of its own.
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
        samples = batch * processes if loss.gather_distributed else batch
        if isinstance(loss, IMSVDLoss) and loss.num_bins**2 > _CELLS_PER_SAMPLE * samples:
            MMLogger.get_current_instance().warning(
                f"model.head.loss.num_bins is {loss.num_bins} with a batch of {samples}: a joint entropy cannot exceed "
                f"log {samples} for one-hot codes, far from 2 log {loss.num_bins}. Near {samples**0.5:.0f} bins, or a "
                "larger batch, the two meet."
            )
