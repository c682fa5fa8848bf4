"""Fixtures and helpers of all tests."""

import inspect
import multiprocessing
import os
import pickle
import re
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from imsvd_plugins import plugins

HERE = Path(__file__).parent
# It imports nox, which is in the extra dev alone.
collect_ignore = ["tools"]
PATIENCE = 120.0  # seconds after which ranks count as hanging

# Lightning calls what jsonargparse 4.53 is giving up, and each of its warnings would be an error.
os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"
# One thread a process: ranks, and what tests start, must not fight for the cores.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Leaves the environment variables as they were: a LOCAL_RANK that a host sets would be every later test's rank."""
    with mock.patch.dict(os.environ):
        return (yield)


@pytest.fixture
def golden() -> Callable[[str], dict[str, torch.Tensor]]:
    """Loads a file of reference values as tensors."""

    def load(name: str) -> dict[str, torch.Tensor]:
        with np.load(HERE / "golden" / f"{name}.npz") as file:
            return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}

    return load


@pytest.fixture
def run_on_ranks() -> Callable[..., list[Any]]:
    """Runs ``function(rank, *args)`` on gloo ranks, each in its own process, and returns what each returned.

    The function must stand at the top level of its test module. An error on any rank is raised here.
    """
    return _run_on_ranks


def _run_on_ranks(function: Callable[..., Any], world_size: int, *args: Any) -> list[Any]:
    context = multiprocessing.get_context("forkserver")
    # Once for all ranks; a host that is not installed is passed over.
    hosts = ("imsvd_plugins.lightly", "imsvd_plugins.openmmlab")
    context.set_forkserver_preload(["torch", "pytest", "hypothesis", "imsvd_plugins.functional", *hosts])
    folder = tempfile.TemporaryDirectory()
    results = context.Queue()
    task = {
        "world_size": world_size,
        "store": f"{folder.name}/store",
        "results": results,
        "file": inspect.getfile(function),
        "name": function.__name__,
        "args": args,
    }
    processes = [
        # Started by path: with importlib's import mode a test module has no name that another process could import.
        context.Process(target=runpy.run_path, args=(str(HERE / "ranks.py"), {**task, "rank": rank}, "__rank__"))
        for rank in range(world_size)
    ]
    for process in processes:
        process.start()
    answers: dict[int, Any] = {}
    deadline = time.monotonic() + PATIENCE
    try:
        while len(answers) < world_size:
            rank, ok, payload = results.get(timeout=max(0.1, deadline - time.monotonic()))
            if not ok:
                raise AssertionError(f"rank {rank} failed:\n{payload}")
            answers[rank] = pickle.loads(payload)
    finally:
        for process in processes:
            process.join(timeout=5 if len(answers) == world_size else 1)
            process.kill()
            process.join()
        folder.cleanup()
    return [answers[rank] for rank in range(world_size)]


@pytest.fixture
def write_distribution(tmp_path: Path) -> Callable[..., Path]:
    """Writes a distribution as pip leaves it behind, modules and dist-info folder; returns the folder to import from.

    Entry points are given as ``{"kernels": {"name": "module:attribute"}}``, modules as ``module="its code"``.
    """

    def write(
        project: str,
        entry_points: dict[str, dict[str, str]],
        version: str = "1.0",
        folder: str = "site",
        **modules: str,
    ) -> Path:
        site = tmp_path / folder
        info = site / f"{re.sub('[-.]', '_', project)}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n")
        lines = []
        for kind, values in entry_points.items():
            lines += [f"[imsvd_plugins.{kind}]", *(f"{name} = {value}" for name, value in values.items())]
        (info / "entry_points.txt").write_text("\n".join(lines))
        for name, code in modules.items():
            (site / f"{name}.py").write_text(code)
        return site

    return write


@pytest.fixture
def install(write_distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Installs a distribution in this process, for the length of the test."""
    installed = []

    def install(*args: Any, **modules: str) -> Path:
        site = write_distribution(*args, **modules)
        monkeypatch.syspath_prepend(site)
        plugins.refresh()
        installed.extend(modules)
        return site

    yield install
    monkeypatch.undo()
    plugins.refresh()
    for name in installed:
        sys.modules.pop(name, None)
