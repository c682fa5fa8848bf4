"""The commands read checkpoints as data: they never run code that a file names, even if a host would."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

_FORCE, _TRUST = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextmanager
def weights_only() -> Iterator[None]:
    """Inside, ``torch.load`` reads only tensors and plain data, even if a host asks it to trust the file.

    If the user has set ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``, all files are trusted as before.
    """
    trusting = os.environ.get(_TRUST, "0").lower() in ("1", "y", "yes", "true")  # as torch reads it
    with _forced("0" if trusting else "1"):
        yield


@contextmanager
def own_unpickler() -> Iterator[None]:
    """Inside, ``torch.load`` takes a ``pickle_module``, which :func:`weights_only` would forbid."""
    with _forced("0"):
        yield


@contextmanager
def _forced(value: str) -> Iterator[None]:
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before


def reason(error: UnpicklingError) -> str:
    """What torch found in the file, in one line, without the advice around it in torch's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = [line for line in lines if not line.startswith("Check the documentation of torch.load")]
    last = found[-1] if found else type(error).__name__
    return last.removeprefix("WeightsUnpickler error: ").partition(" Please use `torch.serialization")[0]
