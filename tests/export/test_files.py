"""What export reads and writes: no code is run, nothing is overwritten, and what it cannot take is named."""

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmpretrain.models.backbones import ResNet
from torch import nn

from imsvd_plugins import cli


class Hyperparameters:
    """A class that a Lightning checkpoint may hold among its hyperparameters."""

    def __init__(self) -> None:
        self.value = 1


class Malicious:
    def __reduce__(self) -> Any:
        return builtins.exec, ("import pathlib; pathlib.Path('harm').write_text('done')",)


class Calling:
    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch harm",)


@pytest.mark.parametrize("thing", [Hyperparameters(), Malicious(), Path("x"), {Path("x"): 1}])
def test_what_is_no_weight_is_neither_needed_nor_run(thing, tmp_path, export, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {f"backbone.{name}": tensor for name, tensor in ResNet(18).state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"thing": thing}}, tmp_path / "last.ckpt")
    export(tmp_path / "last.ckpt", "torchvision")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "last_backbone_torchvision.pth"]


def test_a_system_call_in_a_checkpoint_is_refused(tmp_path, failure, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "hyper_parameters": Calling()}, tmp_path / "last.ckpt")
    assert "cannot be read without running code" in failure(tmp_path / "last.ckpt", "timm")
    assert not (tmp_path / "harm").exists()


def test_torch_alone_is_enough(mmengine_file):
    backbone = ResNet(18)
    checkpoint = mmengine_file(backbone, {"type": "ResNet", "depth": 18})
    code = """
import sys
sys.modules |= dict.fromkeys(["lightly", "mmcv", "mmengine", "mmpretrain", "pytorch_lightning", "timm", "torchvision"])
from imsvd_plugins import cli
sys.exit(cli.main(["export", sys.argv[1], "--format", "torchvision"]))
"""
    subprocess.run([sys.executable, "-c", code, str(checkpoint)], timeout=120, check=True)
    written = torch.load(checkpoint.with_name("epoch_1_backbone_torchvision.pth"))
    assert all(torch.equal(tensor, backbone.state_dict()[name]) for name, tensor in written.items())


def test_a_file_that_is_no_checkpoint_is_named(tmp_path, failure):
    assert "must be a file, and" in failure(tmp_path / "absent.pth", "timm")
    assert "is a folder" in failure(tmp_path, "timm")
    file = tmp_path / "x.pth"
    file.write_text("no weights")
    assert "x.pth is no whole checkpoint that torch.save wrote" in failure(file, "timm")
    torch.save({"state_dict": {f"backbone.{n}": t for n, t in ResNet(18).state_dict().items()}}, file)
    file.write_bytes(file.read_bytes()[:-5000])
    assert "x.pth is no whole checkpoint" in failure(file, "timm")
    torch.save(torch.zeros(1), file)
    assert "an object that is no dict" in failure(file, "timm")
    torch.save(nn.Linear(1, 1), file)
    assert "save model.state_dict() rather than the model" in failure(file, "timm")
    torch.save({"encoder.weight": torch.zeros(1), "head.bias": torch.zeros(1)}, file)
    assert "no backbone: none of its 2 entries" in (line := failure(file, "timm"))
    assert "encoder, head" in line


def test_a_file_is_replaced_by_force_alone_and_never_half_written(tmp_path, export, failure, monkeypatch):
    state = {f"backbone.{name}": tensor for name, tensor in ResNet(18).state_dict().items()}
    torch.save(state, tmp_path / "model.pt")
    output = tmp_path / "out.pth"
    output.write_text("precious")
    options = ("--output", str(output))
    assert "--force" in failure(tmp_path / "model.pt", "torchvision", *options)
    assert output.read_text() == "precious"

    def full(content: Any, path: Path) -> None:
        path.write_text("half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space"):
            cli.main(["export", str(tmp_path / "model.pt"), "--format", "torchvision", *options, "--force"])
    assert output.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "out.pth"]

    model, _ = export(tmp_path / "model.pt", "torchvision", *options, "--force")
    assert torch.equal(model.conv1.weight, state["backbone.conv1.weight"])
    assert "existing folder" in failure(tmp_path / "model.pt", "timm", "--output", str(tmp_path / "no" / "x"))
