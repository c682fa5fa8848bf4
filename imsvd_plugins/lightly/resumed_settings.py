"""A resumed training has the settings that it is given, and says which of them the checkpoint's training had not.

Of themselves optimizers and schedules come back with the settings of the training that saved them, and losses with
none at all.
"""

import inspect
from typing import Any

import torch
from lightly.utils.scheduler import CosineWarmupScheduler
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from imsvd_plugins.lightly.errors import SettingsError

KEY = "imsvd_plugins_settings"
Changes = dict[str, tuple[Any, Any]]  # from what to what, by name

_STEPS = "steps in an epoch"
_LENGTH = {"trainer.max_epochs", "trainer.max_steps"}  # for which a training is often resumed


def settings(module: Any) -> dict[str, Any]:
    """What a checkpoint keeps of a training's settings, plain values by name."""
    plain = (bool, int, float, str)
    criterion = {name: value for name, value in vars(module.criterion).items() if isinstance(value, plain)}
    if hasattr(module.criterion, "kernel"):
        criterion["kernel"] = type(module.criterion.kernel).__name__
    trainer = module.trainer
    return {
        **{f"criterion.{name}": value for name, value in criterion.items() if name[0] != "_" and name != "training"},
        "optimizer": type(trainer.optimizers[0]).__name__,
        "decay_norms_and_biases": module.decay_norms_and_biases,
        "warmup_epochs": module.warmup_epochs,
        "trainer.max_epochs": trainer.max_epochs,
        "trainer.max_steps": trainer.max_steps,
        _STEPS: module.steps_per_epoch(),
    }


def planned(optimizer: Optimizer, scheduler: Any) -> dict[str, Any]:
    """The settings of a new optimizer and its schedule, before a checkpoint's take their place."""
    names = set(inspect.signature(type(scheduler).__init__).parameters) - {"last_epoch"}
    return {
        "groups": [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups],
        "scheduler": {name: value for name, value in scheduler.state_dict().items() if name in names},
    }


def check_fits(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Refuse the weights of another model.

    Raises:
        SettingsError: If tensors are missing, too many or of another shape.
    """
    if "state_dict" not in checkpoint:  # The strategy has loaded it itself, such as FSDP.
        return
    own, saved = module.state_dict(), checkpoint["state_dict"]
    differing = [
        f"{name} is {_shape(saved, name)} in the checkpoint and {_shape(own, name)} in the model"
        for name in sorted(own.keys() | saved.keys() if module.strict_loading else own.keys() & saved.keys())
        if _shape(own, name) != _shape(saved, name)
    ]
    if differing:
        more = f", and {len(differing) - 1} more differ" if differing[1:] else ""
        raise SettingsError(f"The checkpoint is of another model: {differing[0]}{more}.")


def _shape(state: dict[str, Any], name: str) -> str:
    if name not in state:
        return "not there"
    return str(tuple(state[name].shape)) if isinstance(state[name], torch.Tensor) else "no tensor"


def check_groups(module: Any, before: dict[str, Any]) -> None:
    """Refuse groups of parameters that are not the checkpoint's.

    Raises:
        SettingsError: If norms and biases are grouped otherwise.
    """
    if before.get("decay_norms_and_biases", module.decay_norms_and_biases) != module.decay_norms_and_biases:
        raise SettingsError(
            f"decay_norms_and_biases must be the checkpoint's when a training is resumed, not "
            f"{module.decay_norms_and_biases}: the optimizer's state is by groups of parameters."
        )


def take(module: Any, optimizer: Optimizer, scheduler: Any, before: dict[str, Any]) -> int:
    """Give the restored optimizer and schedule this training's settings, and say in a line what has changed.

    Args:
        module: The method's module; its ``planned`` is what :func:`planned` gave.
        optimizer: Its optimizer.
        scheduler: Its schedule.
        before: What :func:`settings` had given when the checkpoint was written; empty if it was written without.

    Returns:
        How many steps the schedule is ahead of the trainer's count, because an epoch had fewer of them.

    Raises:
        SettingsError: If the optimizer is of another class.
    """
    now = settings(module)
    if before.get("optimizer", now["optimizer"]) != now["optimizer"]:
        raise SettingsError(
            f"optimizer must be the checkpoint's when a training is resumed, {before['optimizer']}, got "
            f"{now['optimizer']}: the state of one is of no use to the other."
        )
    changed = {name: (before[name], value) for name, value in now.items() if before.get(name, value) != value}
    ahead = _take_schedule(module, scheduler, changed)
    _take_groups(optimizer, scheduler, module.planned["groups"], changed)
    if changed:
        say = rank_zero_info if changed.keys() <= _LENGTH else rank_zero_warn
        listed = ", ".join(f"{name} = {value} (was {old})" for name, (old, value) in changed.items())
        say(f"Resumed with other settings than the checkpoint's, which count from now on: {listed}.")
    return ahead


def _take_schedule(module: Any, scheduler: Any, changed: Changes) -> int:
    """Set the length and the like, and the position if an epoch has another number of steps."""
    for name, value in module.planned["scheduler"].items():
        if getattr(scheduler, name) != value:
            if not isinstance(scheduler, CosineWarmupScheduler):  # whose length is in steps, and said in epochs
                changed[f"lr_scheduler.{name}"] = (getattr(scheduler, name), value)
            setattr(scheduler, name, value)
    if module.make_scheduler is not None:
        return 0
    before, now = changed.get(_STEPS, (None, None))
    if before and now and module.trainer.max_steps == -1:  # Else the end is in steps, as the position is.
        scheduler.last_epoch = round(scheduler.last_epoch * now / before)
    return int(scheduler.last_epoch - module.trainer.global_step)


def _take_groups(optimizer: Optimizer, scheduler: Any, planned_groups: list[dict[str, Any]], changed: Changes) -> None:
    """Set weight decay and the like, and the learning rates at this point of the schedule."""
    for index, (group, own) in enumerate(zip(optimizer.param_groups, planned_groups, strict=True)):
        for name, value in own.items():
            is_number = isinstance(value, (int, float, tuple)) and not isinstance(value, bool)
            if is_number and name not in ("lr", "initial_lr") and group[name] != value:
                changed.setdefault(f"optimizer.{name}", (group[name], value))
                group[name] = value
        if (base := own.get("initial_lr")) is None:  # of a schedule that keeps no base
            continue
        if group["initial_lr"] != base:
            changed.setdefault("optimizer.lr", (group["initial_lr"], base))
            group["lr"] *= base / group["initial_lr"]
            group["initial_lr"] = base
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs[index] = base
        if isinstance(scheduler, LambdaLR):  # A function of the position: what it was before plays no part.
            group["lr"] = base * scheduler.lr_lambdas[index](scheduler.last_epoch)
