"""Weights in a file of safetensors are those of the file that torch.save writes, in the other library and back here."""

import os
import random
import stat
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from mmpretrain.registry import MODELS
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from imsvd_plugins import cli
from imsvd_plugins.encoders import load_encoder
from imsvd_plugins.lightly.backbones import SmallCNN, TimmBackbone

VIT = {
    "type": "VisionTransformer",
    "arch": {"embed_dims": 48, "num_layers": 2, "num_heads": 3, "feedforward_channels": 96},
    "img_size": 32,
    "patch_size": 8,
}


def save(folder, backbone):
    """A state dict of a model with this backbone, and the names of both exports."""
    torch.save(nn.ModuleDict({"backbone": backbone}).state_dict(), folder / "model.pt")
    return folder / "model.pt", folder / "weights.safetensors", folder / "weights.pth"


@torch.no_grad()
def features(model, size=32):
    return model.eval()(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("library", ["torchvision", "timm", "torch"])
def test_the_printed_line_gives_the_features_of_the_other_file(library, tmp_path, export):
    backbone = SmallCNN() if library == "torch" else torchvision.models.resnet18()
    checkpoint, *files = save(tmp_path, backbone)
    (model, printed), (other, _) = (export(checkpoint, library, "--output", str(file)) for file in files)
    assert f"Wrote {files[0]}: " in printed
    torch.testing.assert_close(features(model), features(other), rtol=0, atol=0)


def test_a_vit_of_mmpretrain_does_too(tmp_path, mmengine_file, export):
    checkpoint = mmengine_file(MODELS.build(VIT), VIT)
    for library in ("torchvision", "timm"):
        files = (tmp_path / f"{library}{suffix}" for suffix in (".safetensors", ".pth"))
        model, other = (export(checkpoint, library, "--output", str(file))[0] for file in files)
        torch.testing.assert_close(features(model), features(other), rtol=0, atol=0)


def test_timm_loads_it_as_a_checkpoint_and_torchvision_strictly(tmp_path, export):
    timm = pytest.importorskip("timm")
    backbone = torchvision.models.resnet18()
    checkpoint, file, _ = save(tmp_path, backbone)
    backbone.fc = nn.Identity()
    export(checkpoint, "timm", "--output", str(file))
    model = timm.create_model("resnet18", num_classes=0, checkpoint_path=str(file))
    torch.testing.assert_close(features(model), features(backbone), rtol=1e-5, atol=1e-5)
    export(checkpoint, "torchvision", "--output", str(file), "--force")
    model = torchvision.models.resnet18()
    model.fc = nn.Identity()
    model.load_state_dict(load_file(file), strict=True)
    torch.testing.assert_close(features(model), features(backbone), rtol=0, atol=0)


def test_a_model_of_timms_keeps_its_name(tmp_path, export):
    pytest.importorskip("timm")
    settings = {"name": "mobilenetv3_small_050", "options": {"drop_rate": 0.1}}
    backbone = TimmBackbone(**settings)
    state = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    component = {"class_path": "imsvd_plugins.lightly.backbones.TimmBackbone", "init_args": settings}
    torch.save({"state_dict": state, "hyper_parameters": {"backbone": component}}, tmp_path / "last.ckpt")
    model, _ = export(tmp_path / "last.ckpt", "timm", "--output", str(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(features(model), features(backbone), rtol=0, atol=0)


def test_tensors_that_share_memory_or_lie_otherwise_are_written_each_for_itself(tmp_path, capsys):
    shared = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    state = {"backbone.a": shared, "backbone.b": shared, "backbone.c": shared[:2], "backbone.d": shared.mT}
    torch.save(state, tmp_path / "model.pt")
    file = tmp_path / "weights.safetensors"
    assert cli.main(["export", str(tmp_path / "model.pt"), "--format", "torch", "--output", str(file)]) == 0
    written = load_file(file)
    assert {f"backbone.{name}" for name in written} == state.keys()
    assert all(torch.equal(tensor, state[f"backbone.{name}"]) for name, tensor in written.items())


def test_the_file_is_as_others_expect_it(tmp_path, export):
    checkpoint, *files = save(tmp_path, SmallCNN())
    for file in files:
        export(checkpoint, "torch", "--output", str(file))
    with safe_open(files[0], "pt") as content:
        assert content.metadata() == {"format": "pt"}
    # The library's own way of writing would leave a file that only its owner may read.
    modes = {stat.S_IMODE(os.stat(file).st_mode) for file in files}
    assert len(modes) == 1


def test_it_is_read_wherever_a_checkpoint_is(tmp_path, export):
    backbone = torchvision.models.resnet18()
    checkpoint, file, _ = save(tmp_path, backbone)
    backbone.fc = nn.Identity()
    export(checkpoint, "timm", "--output", str(file))
    encoder = load_encoder(file, size=32)
    torch.testing.assert_close(features(encoder.backbone), features(backbone), rtol=1e-5, atol=1e-5)
    # A whole model's state dict is a checkpoint that others wrote.
    save_file(torch.load(checkpoint), tmp_path / "model.safetensors")
    model, printed = export(tmp_path / "model.safetensors", "torchvision")
    assert "(safetensors checkpoint)" in printed
    assert (tmp_path / "model_backbone_torchvision.pth").exists()
    torch.testing.assert_close(features(model), features(backbone), rtol=0, atol=0)


def test_what_cannot_be_written_is_said_in_a_line(tmp_path, failure):
    checkpoint, file, _ = save(tmp_path, nn.Conv2d(3, 1, 1))
    assert failure(checkpoint, "mmpretrain", "--output", str(file)).endswith(
        f"{file}: mmpretrain loads only what torch.save writes: give FILE.pth."
    )
    torch.save({"backbone.a": torch.zeros(1, dtype=torch.complex128)}, tmp_path / "complex.pt")
    line = failure(tmp_path / "complex.pt", "torch", "--output", str(file))
    assert line.endswith(f"{file}: safetensors has no dtype torch.complex128; give --output FILE.pth.")
    if Path("/proc").is_dir():  # which takes no file, not even of root
        for name in ("/proc/weights.safetensors", "/proc/weights.pth"):
            line = failure(checkpoint, "torch", "--output", name)
            assert line.endswith(f"{name} cannot be written: No such file or directory."), line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["complex.pt", "model.pt"]


def test_a_damaged_file_ends_in_a_line(tmp_path, failure):
    save_file({"backbone.weight": torch.zeros(3, 1), "backbone.bias": torch.zeros(3)}, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    generator = random.Random(0)
    file = tmp_path / "damaged.safetensors"
    for attempt in range(200):
        place = generator.randrange(len(whole))
        other = bytes([generator.randrange(256)])
        file.write_bytes(whole[:place] if attempt % 4 == 0 else whole[:place] + other + whole[place + 1 :])
        line = failure(file, "timm")
        assert "damaged.safetensors" in line
        assert line.isprintable()
    for content in (b"", b"no weights", whole[:-1]):
        file.write_bytes(content)
        assert "damaged.safetensors is no whole file of safetensors: " in failure(file, "timm")
        with pytest.raises(ValueError, match="is no whole file of safetensors"):
            load_encoder(file)


def test_without_the_library_its_extra_is_named(tmp_path, capsys, monkeypatch):
    checkpoint, file, _ = save(tmp_path, nn.Conv2d(3, 1, 1))
    save_file({"backbone.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    monkeypatch.delitem(sys.modules, "safetensors.torch")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for arguments in (
        ["export", str(checkpoint), "--format", "torch", "--output", str(file)],
        ["export", str(tmp_path / "model.safetensors"), "--format", "torch"],
        ["embed", str(tmp_path / "model.safetensors"), "digits:test", "--out", str(tmp_path / "out.npz")],
    ):
        assert cli.main(arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("needs safetensors, which is not installed: pip install 'imsvd_plugins[safetensors]'")
    assert not file.exists()
