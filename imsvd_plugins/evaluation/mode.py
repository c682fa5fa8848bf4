"""A training goes on after an evaluation as it was before."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


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
