"""What the evaluations during pretraining share: training goes on as without them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from imsvd_plugins.openmmlab.resume.random_states import get_random_states, set_random_states


def bare_model(runner: Runner) -> Any:
    """The model without its wrapper for several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


@contextmanager
def random_state_kept() -> Iterator[None]:
    """What happens inside draws no number from the generators that training uses."""
    states = get_random_states()
    try:
        yield
    finally:
        set_random_states(states)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Every module evaluates inside, and has its own mode again afterwards."""
    # Each module by itself: a frozen backbone's normalisation is in evaluation mode within a model that trains.
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
