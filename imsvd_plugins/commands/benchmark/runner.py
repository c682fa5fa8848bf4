"""A run checks what is asked for, then measures one loss after the other."""

import multiprocessing
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from imsvd_plugins.commands.benchmark.candidates import LIGHTLY
from imsvd_plugins.commands.benchmark.measure import Measurement, measure_in_process
from imsvd_plugins.commands.benchmark.settings import LOSSES, Settings
from imsvd_plugins.extras import missing_extra
from imsvd_plugins.functional.discretization import check_num_bins


class Result(NamedTuple):
    """One loss of a run.

    Attributes:
        loss: Its name.
        ranks: Each rank's measurement; empty if the loss failed.
        error: Why it failed, in a line; empty if it did not.
    """

    loss: str
    ranks: list[Measurement]
    error: str = ""

    @property
    def seconds(self) -> list[float]:
        """Duration of each repeated step, until the last rank was done."""
        return [max(times) for times in zip(*(rank.seconds for rank in self.ranks), strict=True)]

    @property
    def median(self) -> float:
        """Median of the steps' seconds."""
        return median(self.seconds)

    @property
    def first_seconds(self) -> float:
        """Duration of the first step, until the last rank was done."""
        return max(rank.first_seconds for rank in self.ranks)

    @property
    def flops(self) -> int:
        """Operations of the rank that computes most."""
        return max(rank.flops for rank in self.ranks)

    @property
    def sent_bytes(self) -> int:
        """Bytes of the rank that sends most."""
        return max(rank.sent_bytes for rank in self.ranks)

    @property
    def memory_bytes(self) -> int | None:
        """Peak of the rank that needs most; None if unknown."""
        known = [rank.memory_bytes for rank in self.ranks if rank.memory_bytes is not None]
        return max(known, default=None)


def choose(losses: Sequence[str]) -> list[str]:
    """Choose the losses to measure: the named ones, or all that are installed.

    Raises:
        ValueError: If there is no such loss.
        ImportError: If a loss was named whose library is not installed.
    """
    for loss in losses:
        check_loss("LOSS", loss, tuple(LOSSES))
    absent = set() if find_spec("lightly") else set(LIGHTLY)
    if missing := [loss for loss in losses if loss in absent]:
        raise missing_extra(", ".join(missing), "Lightly", "lightly")
    if losses:
        return list(dict.fromkeys(losses))
    if absent:
        _say(f"skipped: {missing_extra(', '.join(LIGHTLY), 'Lightly', 'lightly')}")
    return [loss for loss in LOSSES if loss not in absent]


def check(losses: Sequence[str], settings: Settings) -> None:
    """Refuse what cannot be measured.

    Raises:
        ValueError: If a setting is out of range for these losses, or the device is not there.
    """
    samples, ranks = settings.samples, settings.ranks
    if samples < 2:
        raise ValueError(f"--samples must be >= 2, got {samples}: the losses are statistics of the batch.")
    if samples % ranks:
        raise ValueError(f"--ranks must divide --samples = {samples}, the global batch; got {ranks}.")
    if {"imsvd", "imsvd-plain"} & set(losses):
        check_num_bins(settings.bins, settings.dim)
    if settings.views < 2:
        raise ValueError(f"--views must be >= 2, got {settings.views}.")
    if "hsic-orf" in losses and settings.features % 2:
        raise ValueError(f"--features must be even for hsic-orf, got {settings.features}.")
    if ranks > 1 and not torch.distributed.is_available():
        raise ValueError(f"--ranks {ranks} needs torch.distributed, which this build of torch lacks.")
    if settings.device == "cuda" and torch.cuda.device_count() < ranks:
        raise ValueError(f"--device cuda needs a device a rank: {ranks}; torch finds {torch.cuda.device_count()}.")


def check_loss(argument: str, loss: str, allowed: Sequence[str]) -> None:
    """Refuse an unknown name, and suggest similar ones."""
    if loss not in allowed:
        close = get_close_matches(loss, allowed)
        hint = f"; did you mean {' or '.join(close)}?" if close else "."
        raise ValueError(f"{argument} must be one of {', '.join(allowed)}; got {loss!r}{hint}")


def run(losses: Sequence[str], settings: Settings) -> list[Result]:
    """Measure one loss after the other; progress goes to stderr.

    Args:
        losses: Keys of :data:`~imsvd_plugins.commands.benchmark.settings.LOSSES`.
        settings: The settings; call :func:`check` first.

    Returns:
        A result per loss, in the order of ``losses``.
    """
    results = []
    for number, loss in enumerate(losses, start=1):
        _say(f"measuring {loss} ({number} of {len(losses)})")
        results.append(_measure(loss, settings))
        if results[-1].error:
            _say(f"{loss} failed: {results[-1].error}")
    return results


def _measure(loss: str, settings: Settings) -> Result:
    context = multiprocessing.get_context("spawn")
    processes, answers = [], []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for rank in range(settings.ranks):
                receiver, sender = context.Pipe(duplex=False)
                arguments = (loss, settings, rank, str(Path(folder, "store")), sender)
                process = context.Process(target=measure_in_process, args=arguments, daemon=True)
                with _interrupts_ignored():
                    process.start()
                sender.close()  # so that the pipe ends with the process
                processes.append(process)
                answers.append(receiver)
            return _collect(loss, processes, answers)
        finally:
            for process in processes:
                process.kill()
                process.join()


def _collect(loss: str, processes: Sequence[BaseProcess], answers: Sequence[Connection]) -> Result:
    """The answers of all ranks or, if one fails, its error: the others may be waiting for it."""
    measured: dict[int, Measurement] = {}
    pending = {id(answer): rank for rank, answer in enumerate(answers)}
    while pending:
        for answer in wait([answers[rank] for rank in pending.values()]):
            rank = pending.pop(id(answer))
            try:
                received = answers[rank].recv()
            except EOFError:
                processes[rank].join()
                hint = " (out of memory?)" if processes[rank].exitcode == -signal.SIGKILL else ""
                return Result(loss, [], f"its process ended with status {processes[rank].exitcode}{hint}")
            if not isinstance(received, Measurement):
                return Result(loss, [], received)
            measured[rank] = received
    return Result(loss, [measured[rank] for rank in range(len(answers))])


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C: a terminal sends it to all, but this process ends the ranks."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
