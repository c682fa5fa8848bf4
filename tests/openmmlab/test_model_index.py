"""The shipped configs by name, through mmpretrain's own functions."""

import mmpretrain
import pytest

import imsvd_plugins.openmmlab  # noqa: F401  (what a user imports)


@pytest.mark.parametrize("pattern", ["imsvd_*", "ssl-hsic_*"])
def test_mmpretrain_lists_the_models_beside_its_own(pattern):
    found = mmpretrain.list_models(pattern)
    assert any(name.endswith("_in1k") for name in found)
    assert any(name.endswith("_digits") for name in found)
    assert "barlowtwins_resnet50_8xb256-coslr-300e_in1k" in mmpretrain.list_models("barlowtwins*")


def test_get_model_builds_one_by_its_name():
    model = mmpretrain.get_model("imsvd_resnet14-w24_1xb256-coslr-60e_digits")
    assert type(model).__name__ == "IMSVD"
    assert model.head.loss_module.num_bins > 1
