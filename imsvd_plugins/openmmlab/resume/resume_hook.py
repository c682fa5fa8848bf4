"""Resumes a run as if it had never been interrupted."""

from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from imsvd_plugins.openmmlab.errors import CheckpointError
from imsvd_plugins.openmmlab.resume import limits, schedule
from imsvd_plugins.openmmlab.resume.random_states import get_random_states, set_random_states
from imsvd_plugins.openmmlab.resume.whole_checkpoint import can_be_resumed, resume_from_whole, what_is_wrong

_KEY = "exact_resume"


class ExactResumeHook(Hook):
    """Makes a resumed run equal to the uninterrupted one, bit by bit.

    Each checkpoint also stores what mmengine leaves out: the states of Python's, numpy's, torch's and the GPU's random
    generators on every rank, and the sampler's seed. Random numbers drawn between a checkpoint and the next step, for
    example by an evaluation, do not count. If a validation was due when the run was interrupted, the resumed run
    performs it.

    Resuming is exact with :class:`~imsvd_plugins.training.seeded_batches.SeededBatchSampler` as
    ``train_dataloader.batch_sampler``, on the same number of processes, and as far as the device computes
    deterministically. Any number of loader workers and both of mmengine's training loops work; the loop by epochs needs
    checkpoints between epochs. If resuming is not exact, the log says why.

    A run that resumes with another length, or another number of iterations per epoch, follows the config's learning
    rate schedule as if it had done so from its start, and the log says so.

    With ``resume = True`` and no ``load_from``, if the last checkpoint was cut off while it was written, the run
    resumes from the last whole one and warns; if there is none, it stops.
    """

    # Just before the CheckpointHook (VERY_LOW, 90) and after all hooks that may draw random numbers in the same step.
    priority = 89

    def __init__(self) -> None:
        self._resumed = False
        self._loaded: dict[str, Any] | None = None
        # Every rank's states since the last step or checkpoint; None during a step.
        self._states: list[dict[str, Any]] | None = None
        # Whether no validation is due any more when a checkpoint is saved.
        self._validated = False
        self._validation_due = False

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint before the runner looks for it; rank 0 does so for all ranks.

        Raises:
            CheckpointError: On every rank, if there are checkpoints and none can be resumed from.
        """
        self._resumed = False
        self._loaded = self._states = None
        self._validated = self._validation_due = False
        if not runner._resume:
            return
        error: list[CheckpointError | None] = [None]
        if is_main_process():
            try:
                _choose_checkpoint(runner)
            except CheckpointError as found:
                error = [found]
        broadcast_object_list(error)
        if error[0] is not None:
            raise error[0]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take what this hook saved, before the runner takes the rest."""
        self._loaded = checkpoint.get(_KEY)
        self._resumed = runner._resume
        if self._resumed:
            schedule.follow_config(runner, checkpoint)

    def before_train(self, runner: Runner) -> None:
        """Restore what was saved, if the run resumes."""
        reasons = limits.of_config(runner)
        if self._resumed:
            reasons += limits.of_checkpoint(runner, self._loaded)
        for reason in reasons:
            if self._resumed:
                runner.logger.warning(f"This run does not go on exactly as the uninterrupted one would: {reason}.")
            else:
                runner.logger.info(f"This run cannot be resumed exactly: {reason}.")
        if any(hook.max_keep_ckpts == 1 for hook in limits.checkpoint_hooks(runner)):
            runner.logger.warning(
                "default_hooks.checkpoint.max_keep_ckpts is 1: mmengine deletes the old checkpoint before it writes "
                "the new one, and a run killed in between cannot be resumed. Set it to 2."
            )
        if not self._resumed or self._loaded is None:
            return
        sampler = limits.sampler_of(runner)
        if self._loaded["sampler_seed"] is not None and hasattr(sampler, "seed"):
            # Without a seed in the config this process has drawn another one.
            sampler.seed = self._loaded["sampler_seed"]
        self._validation_due = not self._loaded["validated"] and _validates_here(runner)
        if len(self._loaded["random_states"]) == get_world_size():
            self._states = self._loaded["random_states"]

    def before_train_epoch(self, runner: Runner) -> None:
        """Perform a validation that was due when the run was interrupted."""
        self._make_up_for_validation(runner)

    def after_train(self, runner: Runner) -> None:
        """The same, if there is no epoch left."""
        self._make_up_for_validation(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Restore the checkpoint's random states, both in the run that wrote it and in one that resumes from it."""
        if self._states is not None:
            set_random_states(self._states[get_rank()])
            self._states = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Gather the states if this step will be saved, because saving itself happens on rank 0 alone."""
        if any(
            not hook.by_epoch
            and (
                hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
                or (hook.save_last and hook.is_last_train_iter(runner))
            )
            for hook in limits.checkpoint_hooks(runner)
        ):
            self._gather()
            self._validated = isinstance(runner.train_loop, EpochBasedTrainLoop)

    def after_train_epoch(self, runner: Runner) -> None:
        """Gather the states."""
        self._gather()
        self._validated = False

    def before_val(self, runner: Runner) -> None:
        """Gather the states, because a new best checkpoint is saved during the validation."""
        self._gather()
        self._validated = True

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the states, unless this is an unexpected save for which the ranks have not gathered them."""
        if self._states is not None:
            checkpoint[_KEY] = {
                "random_states": self._states,
                "sampler_seed": getattr(limits.sampler_of(runner), "seed", None),
                "validated": self._validated,
                "num_images": limits.num_images(runner),
            }

    def _gather(self) -> None:
        if self._states is None:
            self._states = all_gather_object(get_random_states())

    def _make_up_for_validation(self, runner: Runner) -> None:
        if self._validation_due:
            self._validation_due = False
            runner.val_loop.run()


def _choose_checkpoint(runner: Runner) -> None:
    if runner._load_from is not None:
        if not can_be_resumed(runner._load_from):
            raise CheckpointError(f"cannot resume: load_from: {what_is_wrong(runner._load_from)}. Give another one.")
        return
    saving = limits.checkpoint_hooks(runner)
    if saving:
        work_dir = Path(runner.work_dir)
        folder = work_dir if saving[0].out_dir is None else Path(saving[0].out_dir, work_dir.name)
        resume_from_whole(work_dir, folder, saving[0].filename_tmpl, runner.logger)


def _validates_here(runner: Runner) -> bool:
    """Whether an uninterrupted run would validate at this point."""
    loop = runner.train_loop
    if isinstance(loop, IterBasedTrainLoop):
        done, end = loop.iter, loop.max_iters
    elif isinstance(loop, EpochBasedTrainLoop):
        done, end = loop.epoch, loop.max_epochs
    else:
        return False
    if runner.val_loop is None:
        return False
    loop._decide_current_val_interval()
    return bool(done >= loop.val_begin and (done % loop.val_interval == 0 or done == end))
