"""Checkpoints of the hosts, and the way of an exported backbone into another library."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmpretrain.registry import MODELS
from pytorch_lightning import LightningModule, Trainer
from torch import nn

from imsvd_plugins import cli


@pytest.fixture(autouse=True)
def _logger():
    """mmengine's logger keeps the stream that it finds first: it must not be capsys's, which a test closes."""
    MMLogger.get_current_instance()


@pytest.fixture
def mmengine_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes what mmengine's runner writes for a model with this backbone."""

    def write(backbone: nn.Module, config: dict[str, Any], **further: Any) -> Path:
        hub = MessageHub("test_export")
        hub.update_scalar("train/loss", 1.0)
        model = nn.ModuleDict({"backbone": backbone, "target_net": nn.Linear(2, 2), "neck": nn.Linear(2, 2)})
        checkpoint = {
            "meta": {"cfg": Config({"model": {"backbone": config}}).pretty_text, "epoch": 1},
            "state_dict": model.state_dict(),
            "message_hub": hub.state_dict(),
            **further,
        }
        torch.save(checkpoint, tmp_path / "epoch_1.pth")
        return tmp_path / "epoch_1.pth"

    return write


@pytest.fixture
def lightning_file(tmp_path: Path) -> Callable[[LightningModule], Path]:
    """Writes a checkpoint of Lightning's."""

    def write(module: LightningModule) -> Path:
        trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_model_summary=False)
        trainer.strategy.connect(module)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return tmp_path / "last.ckpt"

    return write


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Exports, then obeys the printed line: returns the network in the other library, and what was printed."""

    def run(checkpoint: Path, library: str, *options: str) -> tuple[nn.Module, str]:
        assert cli.main(["export", str(checkpoint), "--format", library, *options]) == 0
        printed = capsys.readouterr().out
        line = printed.splitlines()[1].strip()
        if library == "mmpretrain":
            model = MODELS.build(eval(f"dict({line})")["backbone"])
            model.init_weights()
        else:
            names: dict[str, Any] = {"torch": torch, "torchvision": torchvision, "safetensors": safetensors}
            if library == "timm":
                names["timm"] = pytest.importorskip("timm")
            exec(line, names)
            model = names["model"]
        model.eval()
        return model, printed

    return run


@pytest.fixture
def failure(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Exports what cannot be exported; returns the last line."""

    def run(checkpoint: Path, library: str, *options: str) -> str:
        with pytest.raises(SystemExit, match="2"):
            cli.main(["export", str(checkpoint), "--format", library, *options])
        return capsys.readouterr().err.splitlines()[-1]

    return run
