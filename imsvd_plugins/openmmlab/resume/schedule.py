"""The learning rates of a run that resumes with another length."""

import warnings
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, Runner

# What a scheduler counts while it runs; everything else in its state is a setting.
_COUNTED = ("last_step", "_global_step", "_last_value")


def follow_config(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Let a resumed run follow its own config's schedule if the checkpoint's differs.

    mmengine restores the schedulers with their former length. With more epochs, or with another number of processes and
    so of iterations per epoch, the learning rate would not end where the config says. This function sets the learning
    rate, from the checkpoint's epoch on, as if the run had followed this config from its start. The optimizer's own
    state stays that of the checkpoint.

    Args:
        runner: The runner. It has built its loop and schedulers, and has not loaded the checkpoint's yet.
        checkpoint: The checkpoint, changed in place if its schedule differs.
    """
    meta, loop = checkpoint["meta"], runner.train_loop
    epochs, length, iterations = 0, 0, meta["iter"]
    if isinstance(loop, EpochBasedTrainLoop):
        epochs, length = meta["epoch"], len(loop.dataloader)
        iterations = epochs * length
    schedulers, saved = runner.param_schedulers, checkpoint.get("param_schedulers")
    moved = iterations != meta["iter"]
    if moved:
        runner.logger.warning(
            "This run does not go on exactly as the uninterrupted one would: the checkpoint is of iteration "
            f"{meta['iter']}, and {epochs} epochs have {iterations} iterations here. Epoch {epochs + 1} begins with "
            f"its first image, and iterations are counted from {iterations}."
        )
        meta["iter"] = iterations
    if not (isinstance(schedulers, list) and isinstance(saved, list)):
        return
    differ = _differ(schedulers, saved)
    if not (moved or differ):
        return
    if any(hasattr(scheduler, "need_val_args") for scheduler in schedulers):
        runner.logger.warning(
            "param_scheduler depends on validations and cannot be followed from the start at another length: the "
            "learning rate goes on as the checkpoint has it."
        )
        return
    by_iteration = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    with warnings.catch_warnings():
        # Stepping schedulers without the optimizer is intended here.
        warnings.filterwarnings("ignore", "Detected call of `scheduler.step", UserWarning)
        for iteration in range(1, iterations + 1):
            _step(by_iteration)
            if length and iteration % length == 0:
                _step(by_epoch)
    checkpoint["param_schedulers"] = [scheduler.state_dict() for scheduler in schedulers]
    if "optimizer" in checkpoint:
        reason = (
            "The schedule is not the one that the checkpoint was trained with (another length, or other settings): the "
            "learning rate goes on where this config's schedule is now"
            if differ
            else f"The learning rate is that of the beginning of epoch {epochs + 1}"
        )
        before, now = _write_values(runner, checkpoint["optimizer"], {scheduler.param_name for scheduler in schedulers})
        runner.logger.warning(f"{reason}, at {now:.4g} instead of {before:.4g}.")


def _differ(schedulers: list[Any], saved: list[dict[str, Any]]) -> bool:
    if len(schedulers) != len(saved):
        return True
    return any(
        {key: value for key, value in state.items() if key not in _COUNTED}
        != {key: value for key, value in scheduler.state_dict().items() if key not in _COUNTED}
        for scheduler, state in zip(schedulers, saved, strict=True)
        # The state of a scheduler that depends on validations also holds their results.
        if not hasattr(scheduler, "need_val_args")
    )


def _step(schedulers: list[Any]) -> None:
    for scheduler in schedulers:
        scheduler.step()


def _write_values(runner: Runner, optimizer: dict[str, Any], names: set[str]) -> tuple[float, float]:
    """Write the schedulers' values into the optimizer's saved state, which the runner loads next.

    Returns:
        The learning rate of the first group, before and now.
    """
    groups = [*optimizer["param_groups"], optimizer.get("base_param_settings")]
    before = groups[0]["lr"]
    # The wrapper's groups end with the settings that mmengine logs as base_lr, if there are several groups.
    for group, saved in zip(runner.optim_wrapper.param_groups, groups, strict=False):
        for key in (*names, *(f"initial_{name}" for name in names)):
            saved[key] = group[key]
    return before, groups[0]["lr"]
