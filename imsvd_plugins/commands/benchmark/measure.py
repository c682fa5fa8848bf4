"""One loss measured on one rank, in a process that does nothing else."""

import re
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch.utils.flop_counter import FlopCounterMode

from imsvd_plugins.commands.benchmark.candidates import Step, make_step
from imsvd_plugins.commands.benchmark.settings import Settings
from imsvd_plugins.commands.benchmark.traffic import Traffic
from imsvd_plugins.losses import TooManyBinsWarning

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Measurement(NamedTuple):
    """The cost of one loss on one rank, per step of forward and backward.

    Attributes:
        seconds: Duration of each repeated step.
        first_seconds: Duration of the first step, including everything that the loss sets up.
        memory_bytes: Peak memory beyond what inputs and libraries took before the step: allocated tensors on CUDA,
            resident pages on the CPU. None if the system does not report it; Linux does.
        flops: Floating-point operations of matrix products, as torch's FlopCounterMode counts them.
        sent_bytes: Bytes sent to other ranks, see :class:`~imsvd_plugins.commands.benchmark.traffic.Traffic`.
    """

    seconds: list[float]
    first_seconds: float
    memory_bytes: int | None
    flops: int
    sent_bytes: int


def measure_in_process(loss: str, settings: Settings, rank: int, store: str, answers: Connection) -> None:
    """Run a measuring process: send a :class:`Measurement` or, if something failed, a line of text.

    Args:
        loss: What is measured.
        settings: Settings of the run.
        rank: This process's rank.
        store: A file through which the ranks find each other.
        answers: The connection to send to.
    """
    try:
        answers.send(_measure(loss, settings, rank, store))
    except Exception as error:  # The other losses are still measured; a table has room for a line.
        answers.send(" ".join(f"{type(error).__name__}: {error}".split()))


def _measure(loss: str, settings: Settings, rank: int, store: str) -> Measurement:
    torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision(settings.matmul_precision)
    device = torch.device(f"cuda:{rank}" if settings.device == "cuda" else "cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if settings.ranks > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        files = dist.FileStore(store, settings.ranks)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=files, rank=rank, world_size=settings.ranks)
    try:
        # What a process loads or sets up at its first step must not count as the loss's memory.
        small = settings._replace(
            samples=4 * settings.ranks, dim=settings.bins * max(2, settings.ranks), features=2, repeats=1
        )
        with warnings.catch_warnings():
            # Of these few samples, not of the batch that the user asks about.
            warnings.simplefilter("ignore", TooManyBinsWarning)
            make_step(loss, small, rank, device)()

        step = make_step(loss, settings, rank, device)
        memory_bytes, first_seconds = first_step(step, device)
        with FlopCounterMode(display=False) as flops, Traffic() as traffic:  # type: ignore[no-untyped-call]
            step()
        seconds = [_seconds(step, device) for _ in range(settings.repeats)]
        return Measurement(seconds, first_seconds, memory_bytes, flops.get_total_flops(), round(traffic.sent_bytes))
    finally:
        if settings.ranks > 1:
            dist.destroy_process_group()


def _seconds(step: Step, device: torch.device) -> float:
    if dist.is_initialized():
        dist.barrier()
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(device)
        start.record()
        step()
        end.record()
        torch.cuda.synchronize(device)
        return float(start.elapsed_time(end)) / 1000
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def first_step(step: Step, device: torch.device) -> tuple[int | None, float]:
    """The peak memory of the first step, which allocates all its memory, and its time."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        seconds = _seconds(step, device)
        return torch.cuda.max_memory_allocated(device) - before, seconds
    if not _CLEAR_REFS.exists():
        return None, _seconds(step, device)
    _CLEAR_REFS.write_text("5")  # sets the peak to what is resident now
    before = _resident_peak()
    seconds = _seconds(step, device)
    return _resident_peak() - before, seconds


def _resident_peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    if found is None:
        raise RuntimeError(f"{_STATUS} does not tell the peak of the resident memory.")
    return 1024 * int(found[1])
