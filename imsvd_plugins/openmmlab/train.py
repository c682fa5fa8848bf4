"""``imsvd-plugins train`` and ``test``: mmpretrain's own tools, for a shipped config's name or any config's path."""

import argparse
import gc
import os
import runpy
import sys
from difflib import get_close_matches
from pathlib import Path

import mmpretrain
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device

import imsvd_plugins
from imsvd_plugins.openmmlab.errors import ConfigError, ConfigValueError
from imsvd_plugins.openmmlab.safe_globals import STAND_INS

_USAGE = {
    "train": "imsvd-plugins train CONFIG [options of mmpretrain's tools/train.py]",
    "test": "imsvd-plugins test CONFIG CHECKPOINT [options of mmpretrain's tools/test.py]",
}
_CONFIGS = Path(imsvd_plugins.__file__).parent / ".mim" / "configs"
_TOOLS = Path(mmpretrain.__file__).parent / ".mim" / "tools"


def shipped_configs() -> dict[str, Path]:
    """The configs that come with this package, by name; what only serves to be inherited from is left out."""
    files = sorted(path for path in _CONFIGS.rglob("*.py") if "_base_" not in path.relative_to(_CONFIGS).parts)
    return {path.stem: path for path in files}


def resolve_config(name: str) -> Path:
    """The file of a config.

    Args:
        name: A path, or the name of a shipped config, with its folder or without, with ``.py`` or without.

    Raises:
        ConfigValueError: If there is neither such a file nor such a name.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_configs()
    stem = name.removesuffix(".py")
    for known, path in shipped.items():
        if stem in (known, path.relative_to(_CONFIGS).with_suffix("").as_posix()):
            return path
    close = get_close_matches(stem.rpartition("/")[2], shipped)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise ConfigValueError(f"CONFIG {name!r} is neither a file nor a shipped config.{hint}")


def _listing() -> str:
    return "\n".join(f"  {name}" for name in shipped_configs())


def main(argv: list[str], tool: str = "train") -> None:
    """Run one of mmpretrain's tools in this process.

    Args:
        argv: CONFIG, then the tool's own arguments.
        tool: "train" or "test".

    Raises:
        SystemExit: If CONFIG is missing or unknown, has no rate to scale or cannot work (status 1), or when the tool
            itself exits.
    """
    if not argv or argv[0] in ("-h", "--help"):
        listing = f"CONFIG is a path or a shipped config's name:\n{_listing()}"
        print(f"usage: {_USAGE[tool]}\n\n{listing}\n\nThe tool's own help:\n")
        _run_tool(tool, ["--help"])
    # Some launchers put an option of their own in front, --local-rank=0.
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
    # A checkpoint is a word too, and --cfg-options would swallow what follows it.
    position = next((index for index, word in enumerate(others) if word.startswith("-")), len(others))
    more_words, options = others[:position], others[position:]
    several_on_cpu = _launcher(options) == "pytorch" and get_device() == "cpu"
    own_options = _own_options(config, tool, several_on_cpu=several_on_cpu)
    if own_options:
        # The user's own --cfg-options come later and so win.
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
            # The runner is a reference cycle, and its model holds the group: were that still so when the interpreter
            # ends, gloo's threads would now and then abort the process.
            gc.collect()
            dist.destroy_process_group()
    if refusal:
        # After all that mmengine has printed.
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
    """What the tool needs beyond the config."""
    cfg = Config.fromfile(config)
    options = _cpu_options(cfg) if several_on_cpu else []
    if tool == "train" and cfg.get("runner_type") is None:
        options.append("runner_type=imsvd_plugins.CheckedRunner")
    return options


def _cpu_options(cfg: Config) -> list[str]:
    """What several CPU processes need: gloo, and a wrapper that binds the model to no GPU."""
    if cfg.get("model_wrapper_cfg") is not None:
        return ["env_cfg.dist_cfg.backend=gloo", "model_wrapper_cfg.device_ids=None"]
    return [
        "env_cfg.dist_cfg.backend=gloo",
        "model_wrapper_cfg.type=imsvd_plugins.CPUDistributedDataParallel",
        "model_wrapper_cfg.device_ids=None",
        # With a wrapper in the config mmengine no longer applies these two itself.
        "model_wrapper_cfg.broadcast_buffers=False",
        f"model_wrapper_cfg.find_unused_parameters={cfg.get('find_unused_parameters', False)}",
    ]


def _run_tool(tool: str, argv: list[str]) -> None:
    before = sys.argv
    sys.argv = [f"imsvd-plugins {tool}", *argv]
    try:
        # A checkpoint of a stock config, too, is read here: see PlainCheckpointHook.
        with torch.serialization.safe_globals(STAND_INS):
            runpy.run_path(os.fspath(_TOOLS / f"{tool}.py"), run_name="__main__")
    finally:
        sys.argv = before
