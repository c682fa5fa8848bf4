"""What a run costs, and with which software."""

import platform
import resource
import time
from importlib.metadata import version

import pytorch_lightning as pl
import torch


class Cost(pl.Callback):
    """Time of the training epochs, views included and evaluations not, and memory."""

    def __init__(self):
        self.seconds, self.cpu_seconds, self.steps = 0.0, 0.0, 0

    def on_train_epoch_start(self, trainer, pl_module):
        self._since = time.perf_counter(), time.process_time()

    def on_train_epoch_end(self, trainer, pl_module):
        wall, cpu = self._since
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu
        self.steps = trainer.global_step

    def summary(self):
        """Seconds, seconds a step, of the wall's clock and of the processor, and the process' largest memory so far."""
        steps = max(1, self.steps)
        return {
            "seconds": self.seconds,
            "seconds_per_step": self.seconds / steps,
            "cpu_seconds_per_step": self.cpu_seconds / steps,
            "peak_memory_bytes": peak_memory(),
        }


def peak_memory():
    """Largest resident memory of this process so far, in bytes."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def environment():
    """Versions, and what the processor can do."""
    packages = ("imsvd_plugins", "torch", "lightly", "pytorch-lightning", "kornia", "scikit-learn")
    return {
        **{package: version(package) for package in packages},
        "python": platform.python_version(),
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, 1 thread",
    }
