"""Every combination of docs/backbones.md trains with both methods and is exported; the table says no more."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope, init_default_scope
from mmpretrain.registry import MODELS

from imsvd_plugins import cli
from imsvd_plugins.lightly import (
    IMSVD,
    SSLHSIC,
    HSICLoss,
    HSICPredictionHead,
    HSICProjectionHead,
    IMSVDLoss,
    IMSVDProjectionHead,
)
from imsvd_plugins.lightly.backbones import TimmBackbone
from imsvd_plugins.openmmlab.shipped_configs import resolve_config

DOCUMENT = (Path(__file__).parent.parent / "docs" / "backbones.md").read_text()
FRAGMENTS = {
    (language, title): code
    for title, language, code in re.findall(r"^### ([^\n]+)\n\n```(python|yaml)\n(.*?)```$", DOCUMENT, re.M | re.S)
}
# By the table's columns: the language of the fragments and what their titles begin with.
COLUMNS = {
    "mmpretrain's own": ("python", ""),
    "timm's in mmpretrain": ("python", "timm's "),
    "timm's in Lightly": ("yaml", "timm's "),
}
BASES = {
    "imsvd": "imsvd_resnet50_8xb256-coslr-100e_in1k",
    "ssl_hsic": "ssl-hsic_resnet50_16xb256-coslr-100e_in1k",
}
FAST = {("python", "ConvNeXt", "imsvd"), ("python", "ViT", "ssl_hsic"), ("yaml", "timm's ConvNeXt", "ssl_hsic")}
CASES = [
    pytest.param(*case, method, marks=() if (*case, method) in FAST else pytest.mark.slow)
    for case in FRAGMENTS
    for method in BASES
]


@pytest.fixture(autouse=True)
def _mmpretrain():
    before = DefaultScope.get_current_instance()
    init_default_scope("mmpretrain")
    MessageHub.get_current_instance().update_info("max_iters", 2)  # of the target network's schedule
    yield
    DefaultScope._instance_dict.clear()
    if before is not None:
        DefaultScope._instance_dict[before.instance_name] = before


def table():
    rows = re.findall(r"^\| (.+) \|$", DOCUMENT.partition("\n\nmmpretrain's `TIMMBackbone`")[0], re.M)
    cells = [row.split(" | ") for row in rows]
    return {(name, row[0]): cell for row in cells[2:] for name, cell in zip(cells[0][1:], row[1:], strict=True)}


def test_the_table_says_yes_where_there_is_a_fragment():
    cells = table()
    assert {column for column, _ in cells} == COLUMNS.keys()
    for (column, backbone), cell in cells.items():
        language, prefix = COLUMNS[column]
        assert ((language, prefix + backbone) in FRAGMENTS) == (cell == "yes"), (column, backbone)
    assert len(FRAGMENTS) == sum(cell == "yes" for cell in cells.values())


def mmpretrain_model(code, method, folder):
    """A shipped config with this backbone: its model, and the text that a checkpoint holds."""
    (folder / "fragment.py").write_text(f"_base_ = [{str(resolve_config(BASES[method]))!r}]\n{code}")
    cfg = Config.fromfile(folder / "fragment.py")
    # The projector is narrower, and there are no ranks whose statistics could be put together.
    narrow = {"hid_channels": 32, "out_channels": 160, "norm_cfg": {"type": "BN1d"}}
    cfg.model.neck.update(narrow)
    if method == "ssl_hsic":
        cfg.model.head.predictor.update({**narrow, "in_channels": 160})
    if "norm_cfg" in cfg.model.backbone:
        cfg.model.backbone.norm_cfg.type = "BN"
    return MODELS.build(cfg.model), cfg.pretty_text


def lightly_model(settings, method):
    width = settings["projection_head"]["init_args"]["input_dim"]
    parts = {
        "backbone": TimmBackbone(**settings["backbone"]["init_args"]),
        "optimizer": torch.optim.SGD,
    }
    if method == "imsvd":
        model = IMSVD(None, None, projection_head=IMSVDProjectionHead(width, 32, 160), criterion=IMSVDLoss(80), **parts)
    else:
        heads = {
            "projection_head": HSICProjectionHead(width, 32, 16),
            "prediction_head": HSICPredictionHead(16, 32, 16),
        }
        model = SSLHSIC(None, None, criterion=HSICLoss(), **heads, **parts)
    model.log = model.log_dict = lambda *args, **kwargs: None
    return model


@pytest.mark.parametrize(("language", "title", "method"), CASES)
def test_it_trains_and_is_exported(language, title, method, tmp_path):
    torch.manual_seed(0)
    code = FRAGMENTS[language, title]
    if language == "python":
        model, text = mmpretrain_model(code, method, tmp_path)
        further = {"meta": {"cfg": text}}
    else:
        settings = yaml.safe_load(code)
        model = lightly_model(settings, method)
        further = {"hyper_parameters": settings}
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.01)
    for _ in range(2):
        views = list(torch.randn(2, 4, 3, 224, 224))
        optimizer.zero_grad()
        loss = model.loss(views, [])["loss"] if language == "python" else model.training_step((views, None), 0)
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
    assert all(parameter.grad.any() for parameter in model.backbone.parameters() if parameter.requires_grad)

    torch.save({"state_dict": model.state_dict(), **further}, tmp_path / "trained.pth")
    options = ["--format", "timm", "--output", str(tmp_path / "weights.safetensors")]
    assert cli.main(["export", str(tmp_path / "trained.pth"), *options]) == 0
    assert (tmp_path / "weights.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),
    [("vit_tiny_patch16_224", (1, 197, 192)), ("swin_tiny_patch4_window7_224", (1, 7, 7, 768))],
)
def test_what_the_table_says_no_to_has_no_maps_with_channels_first(name, shape):
    backbone = MODELS.build({"type": "TIMMBackbone", "model_name": name})
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 224, 224))[0].shape == shape
