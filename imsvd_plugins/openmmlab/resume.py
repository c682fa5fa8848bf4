"""Resuming a run as if it had never been interrupted."""

from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, barrier, get_rank, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook, SyncBuffersHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.nn import SyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm

from imsvd_plugins.openmmlab.random_states import get_random_states, set_random_states
from imsvd_plugins.openmmlab.whole_checkpoint import resume_from_whole

_KEY = "exact_resume"


class ExactResumeHook(Hook):
    """Saves in each checkpoint what mmengine leaves out, so that a resumed run is the uninterrupted one, bit by bit.

    These are the states of Python's, numpy's, torch's and the GPU's random generators on every rank, and the seed of
    the sampler. Validation during training no longer moves the generators, and one that was due when the run was
    interrupted is made up for. It holds for mmengine's two training loops, with checkpoints between epochs for the one
    by epochs, without loader workers, on the same number of processes, and as far as the device computes
    deterministically. Where it does not hold, the log says why. The sampler's order must be a function of its seed, as
    that of mmengine's samplers is.

    With ``resume = True`` and no ``load_from``, a last checkpoint that was cut off in the middle of its writing is
    passed over for the last whole one, with a warning.
    """

    # Just before the CheckpointHook (VERY_LOW, 90) and after all hooks that may draw numbers in the same step.
    priority = 89

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] = []
        self._states_iter = -1
        self._loaded: dict[str, Any] | None = None
        self._validating = self._validation_due = False

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint, before the runner looks for it; rank 0 for all."""
        self._loaded = None
        self._validating = self._validation_due = False
        saving = _checkpoint_hooks(runner)
        if saving and runner._resume and runner._load_from is None:
            if is_main_process():
                work_dir = Path(runner.work_dir)
                folder = work_dir if saving[0].out_dir is None else Path(saving[0].out_dir, work_dir.name)
                resume_from_whole(work_dir, folder, saving[0].filename_tmpl, runner.logger)
            barrier()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take what was saved."""
        self._loaded = checkpoint.get(_KEY)

    def before_train(self, runner: Runner) -> None:
        """Go on from there, if this is a resumed run."""
        loop = runner.train_loop
        resumed = runner.iter > 0
        if any(hook.max_keep_ckpts == 1 for hook in _checkpoint_hooks(runner)):
            runner.logger.warning(
                "default_hooks.checkpoint.max_keep_ckpts is 1: mmengine deletes the old checkpoint before it writes "
                "the new one, and a run killed in between cannot be resumed. Set it to 2."
            )
        reasons = _reasons_ahead(runner) + (_reasons_behind(runner, self._loaded) if resumed else [])
        for reason in reasons:
            if resumed:
                runner.logger.warning(f"This run does not go on exactly as the uninterrupted one would: {reason}.")
            else:
                runner.logger.info(f"This run cannot be resumed exactly: {reason}.")
        if not resumed or self._loaded is None:
            return
        sampler = _sampler(runner)
        if self._loaded["sampler_seed"] is not None and hasattr(sampler, "seed"):
            # Without a seed in the config this process has drawn another one.
            sampler.seed = self._loaded["sampler_seed"]
        self._validation_due = not self._loaded["validated"] and _validates_here(runner)
        states = self._loaded["random_states"]
        if len(states) != get_world_size():
            return
        own = states[get_rank()]
        if isinstance(loop, IterBasedTrainLoop):
            loop.dataloader_iterator = _Continued(loop, own)
        else:
            set_random_states(own)

    def before_train_epoch(self, runner: Runner) -> None:
        """Make up for a validation that was due when the run was interrupted."""
        self._make_up_for_validation(runner)

    def after_train(self, runner: Runner) -> None:
        """The same, if there is no epoch left."""
        self._make_up_for_validation(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Gather the states if the step is to be saved: the saving itself happens on rank 0 alone."""
        if any(
            not hook.by_epoch
            and (
                hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
                or (hook.save_last and hook.is_last_train_iter(runner))
            )
            for hook in _checkpoint_hooks(runner)
        ):
            self._gather(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Gather the states."""
        self._gather(runner)

    def before_val(self, runner: Runner) -> None:
        """Gather the states: a new best checkpoint is saved amid the validation."""
        self._gather(runner)
        self._validating = True

    def after_val(self, runner: Runner) -> None:
        """Undo the draws of the validation, which a run that resumes from before it does not make."""
        set_random_states(self._states[get_rank()])
        self._validating = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the states, unless someone saves at a moment of which the other ranks know nothing."""
        if self._states_iter == runner.iter:
            seed = getattr(_sampler(runner), "seed", None)
            checkpoint[_KEY] = {
                "random_states": self._states,
                "sampler_seed": seed,
                "validated": self._validating,
            }

    def _make_up_for_validation(self, runner: Runner) -> None:
        if self._validation_due:
            self._validation_due = False
            runner.val_loop.run()

    def _gather(self, runner: Runner) -> None:
        self._states = all_gather_object(get_random_states())
        self._states_iter = runner.iter


def _checkpoint_hooks(runner: Runner) -> list[CheckpointHook]:
    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]


def _sampler(runner: Runner) -> Any:
    dataloader = runner.train_dataloader
    batch_sampler = getattr(dataloader, "batch_sampler", None)
    return dataloader.sampler if hasattr(dataloader.sampler, "seed") else getattr(batch_sampler, "sampler", None)


class _Continued:
    """The batches of a loop by iterations. It skips those already trained on; only then do the random states count."""

    def __init__(self, loop: IterBasedTrainLoop, states: dict[str, Any]) -> None:
        self._loop = loop
        self._batches: Any = loop.dataloader_iterator
        self._states = states
        self._to_skip = loop.iter

    def __next__(self) -> Any:
        if self._to_skip:
            # Upstream's loop skips by loading.
            self._to_skip -= 1
            return next(self._batches)
        # Where the fork's loop has skipped, it would draw a number when it makes a new iterator.
        getattr(self._batches, "_ensure_iterator", lambda: None)()
        set_random_states(self._states)
        self._loop.dataloader_iterator = self._batches
        return next(self._batches)

    def skip_iter(self, num_iters: int) -> None:
        """The maintained fork's way."""
        self._batches.skip_iter(num_iters)
        self._to_skip = 0


def _validates_here(runner: Runner) -> bool:
    """Whether a run that comes to this point goes on with a validation."""
    loop = runner.train_loop
    if isinstance(loop, IterBasedTrainLoop):
        done, end = loop.iter, loop.max_iters
    elif isinstance(loop, EpochBasedTrainLoop) and loop.iter == loop.epoch * len(loop.dataloader):
        done, end = loop.epoch, loop.max_epochs
    else:
        return False
    if runner.val_loop is None:
        return False
    loop._decide_current_val_interval()
    return bool(done >= loop.val_begin and (done % loop.val_interval == 0 or done == end))


def _reasons_ahead(runner: Runner) -> list[str]:
    """What in the config stands against exactness."""
    reasons = []
    if workers := runner.train_dataloader.num_workers:
        reasons.append(
            f"train_dataloader.num_workers is {workers}, and the random states of loader workers are in no checkpoint"
        )
    if isinstance(runner.train_loop, EpochBasedTrainLoop) and not all(
        hook.by_epoch for hook in _checkpoint_hooks(runner)
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


def _norms_differ(runner: Runner) -> bool:
    synchronized = any(isinstance(hook, SyncBuffersHook) for hook in runner.hooks)
    norms = (module for module in runner.model.modules() if isinstance(module, _BatchNorm))
    return not synchronized and not all(isinstance(norm, SyncBatchNorm) for norm in norms)


def _reasons_behind(runner: Runner, loaded: dict[str, Any] | None) -> list[str]:
    """What in the checkpoint stands against exactness."""
    reasons = []
    if loaded is None:
        reasons.append("the checkpoint was written without ExactResumeHook, so it holds no random states")
    elif len(loaded["random_states"]) != get_world_size():
        reasons.append(
            f"the checkpoint is of {len(loaded['random_states'])} processes, and there are {get_world_size()}"
        )
    length = len(runner.train_dataloader)
    if isinstance(runner.train_loop, EpochBasedTrainLoop) and runner.iter != runner.epoch * length:
        reasons.append(
            f"the checkpoint is of iteration {runner.iter}, within an epoch of {length}, which starts again; "
            "or the number of iterations in an epoch has changed"
        )
    accumulated = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
    if runner.iter % accumulated:
        reasons.append(
            f"optim_wrapper.accumulative_counts is {accumulated}, and the checkpoint of iteration {runner.iter} does "
            "not hold the gradients accumulated since the last step"
        )
    return reasons
