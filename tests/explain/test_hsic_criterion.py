"""SSL-HSIC's loss comes out of a checkpoint with its learned scale, and nothing that a file names is made."""

import pytest
import torch

from imsvd_plugins.explain.hsic_criterion import hsic_criterion
from imsvd_plugins.functional.kernels import GaussianKernel
from imsvd_plugins.losses import HSICLoss


@pytest.mark.parametrize(
    "kernel",
    [
        "gaussian",
        "GaussianKernel",
        {"type": "imsvd_plugins.GaussianKernel"},
        {"class_path": "imsvd_plugins.functional.kernels.GaussianKernel"},
    ],
)
def test_it_is_the_loss_of_the_training(kernel):
    trained = HSICLoss("gaussian", num_features=64, normalize=False)
    trained(*torch.randn(2, 16, 8))
    trained(*torch.randn(2, 16, 8))
    settings = {"type": "imsvd_plugins.HSICLoss", "kernel": kernel, "num_features": 64, "normalize": False}
    criterion = hsic_criterion(settings, trained.state_dict())
    assert isinstance(criterion.kernel, GaussianKernel)
    assert (criterion.num_features, criterion.normalize) == (64, False)
    assert criterion.scale == trained.scale
    assert criterion.scale != 1


def test_another_packages_kernel_is_not_made():
    assert hsic_criterion({"kernel": {"type": "os.system", "command": "true"}}, {}) is None
    assert hsic_criterion({"kernel": "theirs"}, {}) is None


@pytest.mark.parametrize("settings", [{"num_features": "many"}, {"num_features": 0}, {"gamma": None}])
def test_wrong_settings_are_a_value_error(settings):
    with pytest.raises(ValueError, match=r"num_features|gamma"):
        hsic_criterion(settings, {})


def test_a_scale_of_another_form_is_named():
    with pytest.raises(ValueError, match="learned_scale"):
        hsic_criterion({}, {"learned_scale.value": torch.zeros(3)})
