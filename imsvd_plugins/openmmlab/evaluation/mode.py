"""What the evaluations during pretraining share, so that they do not affect training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from imsvd_plugins.openmmlab.resume.random_states import get_random_states, set_random_states


def bare_model(runner: Runner) -> Any:
    """The model without its wrapper for distributed training."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the random generators afterwards, so that draws inside do not affect training."""
    states = get_random_states()
    try:
        yield
    finally:
        set_random_states(states)
