"""The commands read checkpoints as data: no code that a file names is run, whatever a host would allow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

_FORCE, _TRUST = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextmanager
def weights_only() -> Iterator[None]:
    """Inside, ``torch.load`` reads tensors and plain data alone, also where a host asks it to trust the file.

    Whoever sets ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD`` trusts all files and keeps that.
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
    """What torch found in the file, in one line: its own message has advice before and after it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = [line for line in lines if not line.startswith("Check the documentation of torch.load")]
    last = found[-1] if found else type(error).__name__
    return last.removeprefix("WeightsUnpickler error: ").partition(" Please use `torch.serialization")[0]
