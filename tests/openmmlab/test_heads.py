import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from imsvd_plugins.functional.kernels import GaussianKernel
from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.openmmlab import HSICHead, IMSVDHead

IMSVD_LOSS = {"type": "imsvd_plugins.IMSVDLoss", "num_bins": 4}
HSIC_LOSS = {"type": "imsvd_plugins.HSICLoss"}
PREDICTOR = {
    "type": "mmpretrain.NonLinearNeck",
    "in_channels": 8,
    "hid_channels": 16,
    "out_channels": 8,
    "with_avg_pool": False,
    "norm_cfg": {"type": "BN1d"},
}


@pytest.fixture
def z():
    return torch.randn(4, 16, 8, generator=torch.Generator().manual_seed(0))


def test_imsvd_head_gives_the_loss_of_the_loss(z):
    head = IMSVDHead(IMSVD_LOSS)
    assert torch.equal(head.loss(z[0], z[1]), IMSVDLoss(num_bins=4)(z[0], z[1]))


def test_hsic_head_gives_the_loss_of_the_loss(z):
    head = HSICHead(HSIC_LOSS)
    assert torch.equal(head.loss(z[0], z[1]), HSICLoss()(z[0], z[1]))


def test_the_terms_make_up_the_loss_and_only_the_loss_is_called_loss(z):
    terms = IMSVDHead(IMSVD_LOSS).components(z[0], z[1])
    assert list(terms) == ["loss", "diagonal", "off_diagonal", "invariance"]
    torch.testing.assert_close(terms["loss"], terms["diagonal"] + terms["off_diagonal"] + terms["invariance"])
    terms = HSICHead(HSIC_LOSS).components(z[0], z[1])
    assert list(terms) == ["loss", "hsic_zy", "hsic_zz", "kernel_scale"]
    torch.testing.assert_close(terms["loss"], 3 * terms["hsic_zz"].sqrt() - terms["hsic_zy"])


def test_targets_do_not_pass_the_predictor(z):
    head = HSICHead(HSIC_LOSS, predictor=PREDICTOR)
    predictions = [head.predictor((view,))[0] for view in z[:2]]
    expected = HSICLoss()(*predictions, z[2], z[3])
    assert torch.equal(head.components(z[0], z[1], targets=[z[2], z[3]])["loss"], expected)
    assert torch.equal(HSICHead(HSIC_LOSS, predictor=PREDICTOR).eval().loss_module.scale, torch.tensor(1.0))


@pytest.mark.parametrize("loss", [IMSVD_LOSS, HSIC_LOSS])
def test_our_losses_are_of_the_global_batch_unless_the_config_says_otherwise(loss):
    head = IMSVDHead if loss is IMSVD_LOSS else HSICHead
    assert head(loss).loss_module.gather_distributed is True
    assert head({**loss, "gather_distributed": False}).loss_module.gather_distributed is False
    assert "gather_distributed" not in loss


@pytest.mark.parametrize("kernel", ["gaussian", {"type": "imsvd_plugins.GaussianKernel"}])
def test_the_kernel_may_be_a_name_or_a_config(kernel):
    assert isinstance(HSICHead({**HSIC_LOSS, "kernel": kernel}).loss_module.kernel, GaussianKernel)


def test_a_loss_without_terms_is_just_a_loss(z):
    loss = {"type": "mmpretrain.CosineSimilarityLoss"}
    init_default_scope("mmpretrain")
    expected = MODELS.build(loss)(z[0], z[1])
    assert IMSVDHead(loss).components(z[0], z[1]) == {"loss": expected}


def test_variables_that_do_not_fit_are_an_error_that_names_both_keys(z):
    head = IMSVDHead({**IMSVD_LOSS, "num_bins": 5})
    with pytest.raises(
        ValueError, match=r"model\.neck\.out_channels .* model\.head\.loss\.num_bins \(5\), such as 10, got 8"
    ):
        head.loss(z[0], z[1])
    with pytest.raises(ValueError, match=r"num_bins \(80\), such as 160, got 8"):
        IMSVDHead({**IMSVD_LOSS, "num_bins": 80}).loss(z[0], z[1])


@pytest.mark.parametrize("head", [IMSVDHead, HSICHead])
def test_a_loss_that_is_no_config_is_an_error_that_names_the_key(head):
    with pytest.raises(TypeError, match=r"model\.head\.loss must be a config.*'imsvd'"):
        head("imsvd")


@pytest.mark.parametrize(
    ("head", "loss", "error", "message"),
    [
        (HSICHead, {"kernel": "rbf"}, ValueError, r"\.kernel: .* one of 'gaussian', 'imq', .*, got 'rbf'"),
        (HSICHead, {"kernel": {"type": "imsvd_plugins.Rbf"}}, ValueError, r"\.kernel\.type .*GaussianKernel.*Rbf"),
        (HSICHead, {"kernel": {"scale": 1}}, TypeError, r"\.kernel must be a config, a dict with a type"),
        (HSICHead, {"kernel": PREDICTOR}, TypeError, r"\.kernel must be a name or an object .* NonLinearNeck"),
        (HSICHead, {"features": "fourier"}, ValueError, r"\.features must be one of 'rff', 'orf', got 'fourier'"),
        (HSICHead, {"type": "imsvd_plugins.HSICLos"}, ValueError, r"\.type .* such as 'imsvd_plugins\.HSICLoss', got"),
        (HSICHead, IMSVD_LOSS, ValueError, r" of HSICHead must be an imsvd_plugins\.HSICLoss .* got IMSVDLoss"),
        (IMSVDHead, HSIC_LOSS, ValueError, r" of IMSVDHead must be an imsvd_plugins\.IMSVDLoss .* got HSICLoss"),
        (IMSVDHead, {"num_bins": 1}, ValueError, r"\.num_bins must be an int >= 2, got 1"),
        (IMSVDHead, {"num_bins": "8"}, TypeError, r"\.num_bins must be an int >= 2, got '8'"),
        (IMSVDHead, {"bins": 8}, ValueError, r"\.bins is no setting of IMSVDLoss; its settings are num_bins, "),
    ],
)  # fmt: skip
def test_a_wrong_setting_of_the_loss_is_named_with_what_is_allowed(head, loss, error, message):
    own = IMSVD_LOSS if head is IMSVDHead else HSIC_LOSS
    with pytest.raises(error, match=rf"^model\.head\.loss{message}"):
        head(loss if loss in (IMSVD_LOSS, HSIC_LOSS) else {**own, **loss})


def test_a_wrong_predictor_is_named():
    with pytest.raises(ValueError, match=r"^model\.head\.predictor\.type .* 'NonLinearNeck' .*'NonLinearNek'"):
        HSICHead(HSIC_LOSS, predictor={**PREDICTOR, "type": "NonLinearNek"})
    without = {key: value for key, value in PREDICTOR.items() if key != "hid_channels"}
    with pytest.raises(ValueError, match=r"^model\.head\.predictor\.hid_channels must be given for NonLinearNeck"):
        HSICHead(HSIC_LOSS, predictor=without)
    # What mmpretrain itself refuses keeps its reason.
    with pytest.raises(ValueError, match=r'^model\.head\.predictor: .*"type"'):
        HSICHead(HSIC_LOSS, predictor={**PREDICTOR, "norm_cfg": {}})
