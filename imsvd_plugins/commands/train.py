"""``imsvd-plugins train`` and ``test``: mmpretrain's own tools, for a shipped config's name or a config's path."""

# First, because it says which extra to install if mmpretrain is absent.
import imsvd_plugins.openmmlab  # noqa: F401, I001  # isort: split

import argparse
import gc
import os
import runpy
import sys
from pathlib import Path

import mmpretrain
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device

from imsvd_plugins.openmmlab.compatibility.safe_globals import STAND_INS
from imsvd_plugins.openmmlab.errors import ConfigError
from imsvd_plugins.openmmlab.shipped_configs import resolve_config, shipped_configs

_USAGE = {
    "train": "imsvd-plugins train CONFIG [options of mmpretrain's tools/train.py]",
    "test": "imsvd-plugins test CONFIG CHECKPOINT [options of mmpretrain's tools/test.py]",
}
_TOOLS = Path(mmpretrain.__file__).parent / ".mim" / "tools"


def _listing() -> str:
    return "\n".join(f"  {name}" for name in shipped_configs())


def main(argv: list[str], tool: str = "train") -> None:
    """Run an mmpretrain tool in this process.

    Args:
        argv: CONFIG, then the tool's own arguments.
        tool: "train" or "test".

    Raises:
        SystemExit: If CONFIG is missing, unknown or invalid, or has no rate to scale (status 1), or when the tool
            itself exits.
    """
    if not argv or argv[0] in ("-h", "--help"):
        listing = f"CONFIG is a path or a shipped config's name:\n{_listing()}"
        listing += "\n\nThose that end in _images train on any folder: --cfg-options data_root=FOLDER"
        print(f"usage: {_USAGE[tool]}\n\n{listing}\n\nThe tool's own help:\n")
        _run_tool(tool, ["--help"])
    # Some launchers put their own option first, --local-rank=0.
    position = next((index for index, word in enumerate(argv) if not word.startswith("-")), len(argv))
    before, words, others = argv[:position], argv[position : position + 1], argv[position + 1 :]
    if not words or not all("=" in word for word in before):
        raise SystemExit(f"imsvd-plugins {tool}: CONFIG must come first, got {argv[0]!r}.\nusage: {_USAGE[tool]}")
    try:
        config = resolve_config(words[0])
    except ConfigError as error:
        print(f"Shipped configs:\n{_listing()}", file=sys.stderr)
        raise SystemExit(f"imsvd-plugins {tool}: {error}") from None
    if tool == "train" and "--auto-scale-lr" in others:
        _check_base_batch_size(config)
    # A checkpoint is positional too, and --cfg-options would swallow the words after it.
    position = next((index for index, word in enumerate(others) if word.startswith("-")), len(others))
    more_words, options = others[:position], others[position:]
    several_on_cpu = _launcher(options) == "pytorch" and get_device() == "cpu"
    own_options = _own_options(config, tool, several_on_cpu=several_on_cpu)
    if own_options:
        # The user's own --cfg-options come later and therefore win.
        own_options = ["--cfg-options", *own_options]
    refusal = ""
    if several_on_cpu:
        # mmengine starts its process group on a GPU, unless there is one already.
        dist.init_process_group("gloo")
    try:
        _run_tool(tool, [*before, str(config), *more_words, *own_options, *options])
    except ConfigError as error:
        refusal = f"imsvd-plugins {tool}: {error}"
    finally:
        if several_on_cpu:
            # The runner is a reference cycle, and its model holds the group. If the group still exists when the
            # interpreter ends, gloo's threads sometimes abort the process.
            gc.collect()
            dist.destroy_process_group()
    if refusal:
        # After all of mmengine's output.
        sys.stdout.flush()
        raise SystemExit(refusal)


def _check_base_batch_size(config: Path) -> None:
    # mmpretrain's tool looks for it before it reads --cfg-options.
    if not Config.fromfile(config).get("auto_scale_lr", {}).get("base_batch_size"):
        raise SystemExit(
            f"imsvd-plugins train: --auto-scale-lr needs auto_scale_lr = dict(base_batch_size=N) in {config.name}, N "
            "being the global batch for which its learning rate is meant; it has none."
        )


def _launcher(options: list[str]) -> str:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--launcher", default="none")
    launcher: str = parser.parse_known_args(options)[0].launcher
    return launcher


def _own_options(config: Path, tool: str, *, several_on_cpu: bool) -> list[str]:
    """Options that the tool needs beyond the config."""
    cfg = Config.fromfile(config)
    options = _cpu_options(cfg) if several_on_cpu else []
    if tool == "train" and cfg.get("runner_type") is None:
        options.append("runner_type=imsvd_plugins.CheckedRunner")
    return options


def _cpu_options(cfg: Config) -> list[str]:
    """Options for several CPU processes: gloo, and a wrapper that does not bind the model to a GPU."""
    if cfg.get("model_wrapper_cfg") is not None:
        return ["env_cfg.dist_cfg.backend=gloo", "model_wrapper_cfg.device_ids=None"]
    return [
        "env_cfg.dist_cfg.backend=gloo",
        "model_wrapper_cfg.type=imsvd_plugins.CPUDistributedDataParallel",
        "model_wrapper_cfg.device_ids=None",
        # If the config has a wrapper, mmengine does not apply these two itself.
        "model_wrapper_cfg.broadcast_buffers=False",
        f"model_wrapper_cfg.find_unused_parameters={cfg.get('find_unused_parameters', False)}",
    ]


def _run_tool(tool: str, argv: list[str]) -> None:
    before = sys.argv
    sys.argv = [f"imsvd-plugins {tool}", *argv]
    try:
        # This also reads checkpoints of stock configs: see PlainCheckpointHook.
        with torch.serialization.safe_globals(STAND_INS):
            runpy.run_path(os.fspath(_TOOLS / f"{tool}.py"), run_name="__main__")
    finally:
        sys.argv = before
