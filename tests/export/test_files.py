"""What export reads and writes: no code is run, nothing is overwritten, and what it cannot take is named."""

import builtins
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmpretrain.models.backbones import ResNet
from mmpretrain.registry import MODELS
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
    assert "CHECKPOINT must be a file, and" in failure(tmp_path / "absent.pth", "timm")
    assert "CHECKPOINT must be a file, and" in failure(tmp_path / "no" / "folder" / "absent.pth", "timm")
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
        line = failure(tmp_path / "model.pt", "torchvision", *options, "--force")
        assert line.endswith(f"{output} cannot be written: No space left on device.")
    assert output.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "out.pth"]

    model, _ = export(tmp_path / "model.pt", "torchvision", *options, "--force")
    assert torch.equal(model.conv1.weight, state["backbone.conv1.weight"])
    assert "existing folder" in failure(tmp_path / "model.pt", "timm", "--output", str(tmp_path / "no" / "x"))


def test_a_damaged_file_ends_in_a_line(tmp_path, failure):
    """Cut off anywhere, or with any byte another one; at times it still is a checkpoint, but of no known network."""
    state = {f"backbone.{name}": tensor for name, tensor in nn.Conv2d(3, 1, 1).state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"a": [1, "b", 2.0]}}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    generator = random.Random(0)
    file = tmp_path / "damaged.pt"
    for attempt in range(200):
        place = generator.randrange(len(whole))
        other = bytes([generator.randrange(256)])
        file.write_bytes(whole[:place] if attempt % 4 == 0 else whole[:place] + other + whole[place + 1 :])
        assert "damaged.pt" in failure(file, "timm")


@pytest.mark.parametrize("tensor", [torch.zeros(()), torch.zeros(3), torch.zeros(1, 1, 1)])
def test_tensors_of_no_network_end_in_a_line(tensor, tmp_path, failure):
    for config in (
        {"type": "VisionTransformer", "arch": "deit-tiny"},
        {"type": "ConvNeXt"},
        {"type": "SwinTransformer"},
    ):
        state = {f"backbone.{name}": tensor for name in MODELS.build(config).state_dict()}
        torch.save(state, tmp_path / "model.pt")
        line = failure(tmp_path / "model.pt", "timm")
        assert re.search("the shapes or settings are no network's|must be|has no", line), line


@pytest.mark.parametrize("state", [{"backbone.": torch.ones(1)}, {"backbone.x": torch.ones(1, device="meta")}])
def test_what_is_no_weight_is_no_backbone(state, tmp_path, failure):
    torch.save(state, tmp_path / "model.pt")
    assert "none of its 1 entries is a tensor under 'backbone.'" in failure(tmp_path / "model.pt", "timm")


def test_a_config_is_never_text_to_run(tmp_path, failure, monkeypatch):
    """The printed line is there to be pasted: what a file names in it must be plain data."""
    monkeypatch.chdir(tmp_path)
    state = {f"backbone.{name}": tensor for name, tensor in nn.Conv2d(3, 1, 1).state_dict().items()}
    for config in ('{"type": "X", "a=1); import os; os.mkdir(chr(97)); (": 1}', "dict(type='X', b={'c': b'd'})"):
        torch.save({"meta": {"cfg": f"model = dict(backbone={config})"}, "state_dict": state}, tmp_path / "x.pth")
        assert "must be a name with plain data" in failure(tmp_path / "x.pth", "mmpretrain")
    deep = f"model = {'(' * 5000}{')' * 5000}"
    torch.save({"meta": {"cfg": deep}, "state_dict": state}, tmp_path / "x.pth")
    assert "must be a ResNet" in failure(tmp_path / "x.pth", "timm")
    component = {
        "class_path": "imsvd_plugins.lightly.backbones.TimmBackbone",
        "init_args": {"name": "a", "options": {"b)": 1}},
    }
    torch.save({"state_dict": state, "hyper_parameters": {"backbone": component}}, tmp_path / "x.pth")
    assert "must be a name with plain data" in failure(tmp_path / "x.pth", "timm")


def test_a_class_that_a_config_names_is_not_in_the_line_to_paste(tmp_path, monkeypatch, capsys):
    state = {f"backbone.{name}": tensor for name, tensor in nn.Conv2d(3, 1, 1).state_dict().items()}
    for path, shown in (("os.system", False), ("imsvd_plugins.lightly.backbones.ResNet", True)):
        component = {"class_path": path, "init_args": {"depth": 18}}
        torch.save({"state_dict": state, "hyper_parameters": {"backbone": component}}, tmp_path / "x.ckpt")
        assert cli.main(["export", str(tmp_path / "x.ckpt"), "--format", "torch", "--force"]) == 0
        [_, line, *notes] = capsys.readouterr().out.splitlines()
        assert ("ResNet(depth=18)" in line) == shown
        assert "system" not in line
        assert shown or notes == [
            "The checkpoint says that its class is 'os.system': model is a network of that class."
        ]


def test_a_checkpoint_whose_bytes_have_changed_is_refused(tmp_path, failure):
    """torch itself reads the changed tensor without a word."""
    state = {f"backbone.{name}": tensor for name, tensor in ResNet(18).state_dict().items()}
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": state}, file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40
    file.write_bytes(content)
    torch.load(file, weights_only=True)
    assert "is damaged: 'last/data/" in failure(file, "timm")
