"""A resumed training uses the settings that it is given, and reports those that differ from the checkpoint's.

Without this module, optimizers and schedules would return with the settings of the training that saved them. The state
of a loss holds no settings.
"""

import inspect
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from imsvd_plugins.lightly.errors import SettingsError

KEY = "imsvd_plugins_settings"
Changes = dict[str, tuple[Any, Any]]  # old and new value, by name
Plan = dict[str, Any]  # the "groups" of a new optimizer and the state of its new "scheduler"

_STEPS = "steps in an epoch"
_AHEAD, _PLANNED = "steps ahead", "planned"  # stored, but not compared with this training's
_RATES = {"base_lrs", "_last_lr", "lr_lambdas"}  # parts of a schedule's state: the optimizer's settings, and functions
_LENGTH = {"trainer.max_epochs", "trainer.max_steps"}  # a training is often resumed to change these


def settings(module: Any) -> dict[str, Any]:
    """The settings of a training that a checkpoint stores, plain values by name."""
    plain = (bool, int, float, str)
    criterion = {name: value for name, value in vars(module.criterion).items() if isinstance(value, plain)}
    if hasattr(module.criterion, "kernel"):
        criterion["kernel"] = type(module.criterion.kernel).__name__
    trainer = module.trainer
    schedulers = trainer.lr_scheduler_configs
    kept: dict[str, Any] = {_AHEAD: module.steps_ahead}
    if module.planned is not None:
        kept[_PLANNED] = module.planned
    return {
        **kept,
        **{f"criterion.{name}": value for name, value in criterion.items() if name[0] != "_" and name != "training"},
        "optimizer": type(trainer.optimizers[0]).__name__,
        "lr_scheduler": type(schedulers[0].scheduler).__name__ if schedulers else None,
        "decay_norms_and_biases": module.decay_norms_and_biases,
        "warmup_epochs": module.warmup_epochs,
        "trainer.max_epochs": trainer.max_epochs,
        "trainer.max_steps": trainer.max_steps,
        _STEPS: module.steps_per_epoch(),
    }


def planned(optimizer: Optimizer, scheduler: Any) -> Plan:
    """The settings of a new optimizer and its schedule, before a checkpoint's replace them."""
    state = scheduler.state_dict()
    return {
        "groups": [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups],
        "scheduler": {name: value for name, value in state.items() if name not in _RATES},
    }


def _planned_before(optimizer: Optimizer, scheduler: Any, before: dict[str, Any]) -> Plan:
    """The plan of the checkpoint's training; the restored settings if the checkpoint has no plan."""
    if _PLANNED in before:
        plan: Plan = before[_PLANNED]
        return plan
    restored = planned(optimizer, scheduler)
    names = set(inspect.signature(type(scheduler).__init__).parameters) - {"last_epoch"}
    return restored | {"scheduler": {name: value for name, value in restored["scheduler"].items() if name in names}}


def check_fits(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Raise if the weights are of another model.

    Raises:
        SettingsError: If tensors are missing, unexpected or of another shape.
    """
    if "state_dict" not in checkpoint:  # A strategy such as FSDP has loaded it itself.
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
    """Raise if the groups of parameters differ from the checkpoint's.

    Raises:
        SettingsError: If norms and biases are grouped differently.
    """
    if before.get("decay_norms_and_biases", module.decay_norms_and_biases) != module.decay_norms_and_biases:
        raise SettingsError(
            f"decay_norms_and_biases must be the checkpoint's when a training is resumed, not "
            f"{module.decay_norms_and_biases}: the optimizer's state is by groups of parameters."
        )


def take(module: Any, optimizer: Optimizer, scheduler: Any, before: dict[str, Any]) -> int:
    """Give the restored optimizer and schedule this training's settings, and report the changes in one line.

    Args:
        module: The method's module; its ``planned`` is the result of :func:`planned`.
        optimizer: Its optimizer.
        scheduler: Its schedule.
        before: The result of :func:`settings` when the checkpoint was written; empty if the checkpoint has none.

    Returns:
        Number of steps by which the schedule is ahead of the trainer's count, because an epoch had fewer steps.

    Raises:
        SettingsError: If the optimizer or the schedule is of another class, or has settings that cannot change.
    """
    now = settings(module)
    for name in ("optimizer", "lr_scheduler"):
        if before.get(name, now[name]) != now[name]:
            raise SettingsError(
                f"{name} must be the checkpoint's when a training is resumed, {before[name]}, got {now[name]}: the "
                "state of one is of no use to the other."
            )
    changed = {
        name: (before[name], value)
        for name, value in now.items()
        if name not in (_AHEAD, _PLANNED) and before.get(name, value) != value
    }
    plan = _planned_before(optimizer, scheduler, before)
    _take_schedule(module, scheduler, plan["scheduler"], changed)
    ahead = _take_position(module, scheduler, before.get(_AHEAD, 0), changed)
    _take_groups(optimizer, scheduler, plan["groups"], module.planned["groups"], changed)
    _take_rates(optimizer, scheduler, changed)
    if changed:
        say = rank_zero_info if changed.keys() <= _LENGTH else rank_zero_warn
        listed = ", ".join(f"{name} = {value} (was {old})" for name, (old, value) in changed.items())
        say(f"Resumed with other settings than the checkpoint's, which count from now on: {listed}.")
    return ahead


def _take_schedule(module: Any, scheduler: Any, before: dict[str, Any], changed: Changes) -> None:
    """Set the schedule's length and similar settings, if they determine the current rate."""
    own = module.planned["scheduler"]
    differing = [name for name, old in before.items() if name in own and own[name] != old]
    if differing and not isinstance(scheduler, LambdaLR) and not hasattr(scheduler, "_get_closed_form_lr"):
        raise SettingsError(
            f"lr_scheduler must have the checkpoint's settings when a training with {type(scheduler).__name__} is "
            f"resumed, got other {', '.join(differing)}: such a schedule cannot be changed on its way."
        )
    for name in differing:
        if module.make_scheduler is not None:  # Otherwise the length is in steps, and is reported in epochs.
            changed[f"lr_scheduler.{name}"] = (before[name], own[name])
        setattr(scheduler, name, own[name])


def _take_position(module: Any, scheduler: Any, ahead: int, changed: Changes) -> int:
    """Set the position if the number of steps per epoch changed; return it relative to the trainer's count."""
    before, now = changed.get(_STEPS, (None, None))
    # With max_steps, the position is in steps too.
    factor = now / before if before and now and module.trainer.max_steps == -1 else 1.0
    steps: int = module.trainer.global_step
    if module.make_scheduler is not None:  # It has its own position, often in epochs.
        position: int = round((steps + ahead) * factor)
        return position - steps
    scheduler.last_epoch = round(scheduler.last_epoch * factor)
    return int(scheduler.last_epoch - steps)


def _take_groups(
    optimizer: Optimizer,
    scheduler: Any,
    groups_before: list[dict[str, Any]],
    own_groups: list[dict[str, Any]],
    changed: Changes,
) -> None:
    """Set weight decay and similar settings, and the base of the learning rates.

    The plans are compared, so a value that a schedule has moved, such as OneCycleLR's momentum, is no change.
    """
    for index, (group, before, own) in enumerate(zip(optimizer.param_groups, groups_before, own_groups, strict=True)):
        for name, value in own.items():
            is_number = isinstance(value, (int, float, tuple)) and not isinstance(value, bool)
            if is_number and name not in ("lr", "initial_lr") and before.get(name, value) != value:
                changed.setdefault(f"optimizer.{name}", (before[name], value))
                group[name] = value
        base = own.get("initial_lr")
        if base is None or group["initial_lr"] == base:  # None for a schedule without a base rate.
            continue
        changed.setdefault("optimizer.lr", (group["initial_lr"], base))
        group["lr"] *= base / group["initial_lr"]
        group["initial_lr"] = base
        if hasattr(scheduler, "base_lrs"):
            scheduler.base_lrs[index] = base


def _take_rates(optimizer: Optimizer, scheduler: Any, changed: Changes) -> None:
    """Set the current learning rates, because many schedules compute the next rate from the last."""
    if isinstance(scheduler, LambdaLR):
        functions = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        rates = [base * function(scheduler.last_epoch) for base, function in functions]
    elif hasattr(scheduler, "_get_closed_form_lr") and any(
        name == "optimizer.lr" or name.startswith("lr_scheduler.") for name in changed
    ):
        rates = scheduler._get_closed_form_lr()
    else:
        return
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = rates
