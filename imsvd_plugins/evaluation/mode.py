"""Evaluation during training, which leaves the modules' modes as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put all modules into evaluation mode inside, and give each its own mode back afterwards."""
    # Modes differ between modules: a frozen backbone's normalisation evaluates within a model that trains.
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
