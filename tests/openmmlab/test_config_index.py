"""Shipped configs as others find them: inherited from an installation, in mim's index, in the README's table."""

import runpy
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

import imsvd_plugins
from imsvd_plugins.openmmlab.shipped_configs import shipped_configs

MIM = Path(imsvd_plugins.__file__).parent / ".mim"
TABLE = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "config_table.py"))


@pytest.fixture(autouse=True)
def _mmpretrain():
    init_default_scope("mmpretrain")


def test_an_installed_config_can_be_inherited_from(tmp_path):
    config = tmp_path / "mine.py"
    name = "imsvd_resnet14-w24_1xb256-coslr-60e_digits.py"
    config.write_text(
        f"_base_ = [__import__('imsvd_plugins').__path__[0] + '/.mim/configs/imsvd/{name}']\n"
        "model = dict(head=dict(loss=dict(num_bins=8)))\n"
    )
    cfg = Config.fromfile(config)
    model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
    assert model.head.loss_module.num_bins == 8


def test_the_index_of_mim_lists_every_config_that_exists():
    index = yaml.safe_load((MIM / "model-index.yml").read_text())
    listed = {}
    for file in index["Import"]:
        content = yaml.safe_load((MIM / file).read_text())
        names = {collection["Name"] for collection in content["Collections"]}
        for collection in content["Collections"]:
            assert (MIM / collection["README"]).is_file()
        for model in content["Models"]:
            assert model["In Collection"] in names
            assert Path(model["Config"]).stem == model["Name"]
            assert model["Results"] is None
            listed[model["Name"]] = (MIM / model["Config"], model)
    assert {name: path for name, (path, _) in listed.items()} == shipped_configs()
    for path, model in listed.values():
        assert set(model.get("Downstream", [])) <= set(listed)
        if TABLE["kind"](path) != "dense":
            metadata = model["Metadata"]
            assert metadata["Batch Size"] == TABLE["batch"](path)
            assert metadata.get("Epochs", 0) == TABLE["epochs"](path)


def test_the_table_of_configs_is_current():
    text = TABLE["README"].read_text()
    assert TABLE["replaced"](text) == text, "run: python tests/tools/config_table.py --write"
