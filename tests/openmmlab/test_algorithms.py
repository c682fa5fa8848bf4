import math
import re
import traceback

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

from imsvd_plugins.losses import HSICLoss
from imsvd_plugins.openmmlab import IMSVD, SSLHSIC

BN = {"type": "BN1d"}
BACKBONE = {
    "type": "ResNet_CIFAR",
    "depth": 18,
    "stem_channels": 8,
    "base_channels": 8,
    "num_stages": 2,
    "strides": (2, 2),
    "dilations": (1, 1),
    "out_indices": (1,),
}
NECK = {"type": "NonLinearNeck", "in_channels": 16, "hid_channels": 32, "out_channels": 8, "norm_cfg": BN}
IMSVD_HEAD = {"type": "imsvd_plugins.IMSVDHead", "loss": {"type": "imsvd_plugins.IMSVDLoss", "num_bins": 4}}
HSIC_HEAD = {"type": "imsvd_plugins.HSICHead", "loss": {"type": "imsvd_plugins.HSICLoss"}}
PREDICTOR = {**NECK, "in_channels": 8, "with_avg_pool": False}


@pytest.fixture(autouse=True)
def _mmpretrain():
    init_default_scope("mmpretrain")


@pytest.fixture
def views():
    return list(torch.randn(3, 8, 3, 16, 16, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def max_iters():
    """The length of the training, which the target network's schedule takes from the message hub."""
    MessageHub.get_current_instance().update_info("max_iters", 10)
    return 10


def hsic(**options):
    return SSLHSIC(**{"backbone": BACKBONE, "neck": NECK, "head": HSIC_HEAD, "base_momentum": None, **options})


def test_imsvd_is_the_loss_of_the_two_projections(views):
    model = IMSVD(BACKBONE, NECK, IMSVD_HEAD).eval()
    terms = model.loss(views[:2], [])
    expected = model.head.loss(*(model.neck(model.backbone(view))[0] for view in views[:2]))
    torch.testing.assert_close(terms["loss"], expected)
    assert [name for name in terms if "loss" in name] == ["loss"]


def test_the_trainer_minimises_the_loss_and_nothing_else(views):
    model = IMSVD(BACKBONE, NECK, IMSVD_HEAD)
    terms = model.loss(views[:2], [])
    total, logged = model.parse_losses(terms)
    assert torch.equal(total, terms["loss"])
    assert set(logged) == {"loss", "diagonal", "off_diagonal", "invariance"}


@pytest.mark.parametrize("count", [2, 3])
def test_ssl_hsic_without_a_target_network_takes_any_number_of_views(views, count):
    model = hsic().eval()
    z = [model.neck(model.backbone(view))[0] for view in views[:count]]
    torch.testing.assert_close(model.loss(views[:count], [])["loss"], HSICLoss().eval()(*z))


class TestTargetNetwork:
    @pytest.fixture
    def model(self, max_iters):
        return hsic(head={**HSIC_HEAD, "predictor": PREDICTOR}, base_momentum=0.01)

    def test_the_objective_has_two_predictions_and_two_target_projections(self, model, views):
        model.eval()
        loss = model.loss(views[:2], [])["loss"]
        z = [model.neck(model.backbone(view))[0] for view in views[:2]]
        predictions = [model.head.predictor((z_view,))[0] for z_view in z]
        # At the first step the target network is the online network.
        torch.testing.assert_close(loss, HSICLoss().eval()(*predictions, *z))

    @pytest.mark.parametrize("large", [(0, 1), (1, 2), (0, 1, 2)])
    def test_of_a_multi_crop_it_predicts_all_views_from_the_largest(self, model, views, large):
        model.eval()
        views = [view if index in large else view[:, :, 4:12, 4:12] for index, view in enumerate(views)]
        loss = model.loss(views, [])["loss"]
        z = [model.neck(model.backbone(view))[0] for view in views]
        predictions = [model.head.predictor((z_view,))[0] for z_view in z]
        torch.testing.assert_close(loss, HSICLoss().eval()(*predictions, *(z[index] for index in large)))

    def test_only_the_online_network_gets_a_gradient(self, model, views):
        model.loss(views[:2], [])["loss"].backward()
        assert all(p.grad is None and not p.requires_grad for p in model.target_net.parameters())
        online = [*model.backbone.parameters(), *model.neck.parameters(), *model.head.parameters()]
        assert all(p.grad is not None for p in online)

    def test_its_momentum_goes_from_099_to_1_by_cosine(self, model, views, max_iters):
        weight, average = model.neck.fc0.weight, model.target_net.module[1].fc0.weight
        expected = None
        for step in range(max_iters):
            model.loss(views[:2], [])
            if step == 0:
                expected = weight.detach().clone()
            else:
                momentum = 1 - 0.01 * (math.cos(math.pi * step / max_iters) + 1) / 2
                expected = momentum * expected + (1 - momentum) * weight.detach()
            torch.testing.assert_close(average, expected)
            with torch.no_grad():
                weight += 1
        model.target_net.steps.fill_(max_iters)
        model.loss(views[:2], [])
        torch.testing.assert_close(average, expected)


@pytest.mark.parametrize("model_class", [IMSVD, SSLHSIC])
def test_features_are_the_backbones_or_the_necks(model_class, views):
    head = IMSVD_HEAD if model_class is IMSVD else HSIC_HEAD
    model = model_class(BACKBONE, NECK, head).eval()
    assert model.extract_feat(views[0])[-1].shape == (8, 16, 4, 4)
    assert model(views[0], mode="tensor")[-1].shape == (8, 16, 4, 4)
    assert model.extract_feat(views[0], stage="neck")[0].shape == (8, 8)
    with pytest.raises(ValueError, match=r"stage must be one of .*'pre_logits'"):
        model.extract_feat(views[0], stage="pre_logits")


def test_models_build_on_the_meta_device():
    # mmpretrain's ResNet itself does not: it asks a tensor for its value.
    backbone = {"type": "VGG", "depth": 11}
    with torch.device("meta"):
        models = [IMSVD(backbone, NECK, IMSVD_HEAD), hsic(backbone=backbone, base_momentum=0.01)]
    assert all(parameter.is_meta for model in models for parameter in model.parameters())


HSIC_DIGITS = "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits"
IMSVD_DIGITS = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"


class TestWrongConfigs:
    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            (HSIC_DIGITS, {"head.loss.kernel": "rbf"}, r"model\.head\.loss\.kernel.* one of 'gaussian', 'imq'.*'rbf'"),
            (HSIC_DIGITS, {"head.loss.features": "sorf"}, r"model\.head\.loss\.features must be one of 'rff', 'orf'"),
            (HSIC_DIGITS, {"head.loss": IMSVD_HEAD["loss"]}, r"model\.head\.loss of HSICHead .*HSICLoss .*IMSVDLoss"),
            (IMSVD_DIGITS, {"head.loss": HSIC_HEAD["loss"]}, r"model\.head\.loss of IMSVDHead .*IMSVDLoss .*HSICLoss"),
            (IMSVD_DIGITS, {"head.loss.num_bins": 0}, r"model\.head\.loss\.num_bins must be an int >= 2, got 0"),
            (
                IMSVD_DIGITS,
                {"neck.out_channels": 40},
                r"model\.neck\.out_channels .* model\.head\.loss\.num_bins \(16\), such as 32 or 48, got 40",
            ),
            (IMSVD_DIGITS, {"neck": None}, r"model\.neck, the projector, must be given for IMSVD"),
            (IMSVD_DIGITS, {"backbone": None}, r"model\.backbone must be given for IMSVD"),
            (IMSVD_DIGITS, {"nek": 1}, r"TypeError: model\.nek is no setting of IMSVD; its settings are .*neck, head"),
            (HSIC_DIGITS, {"momentum": 1}, r"model\.momentum is no setting of SSLHSIC; .*, base_momentum, "),
            (IMSVD_DIGITS, {"neck.type": "NonLinearNek"}, r"model\.neck\.type .* 'NonLinearNeck'.*got 'NonLinearNek'"),
            (IMSVD_DIGITS, {"neck.width": 3}, r"model\.neck\.width is no setting of NonLinearNeck; .*hid_channels"),
            (IMSVD_DIGITS, {"backbone.depth": 19}, r"model\.backbone: invalid depth 19"),
            (IMSVD_DIGITS, {"head.type": "imsvd_plugins.HSICHead"}, r"model\.head of IMSVD must .*got HSICHead"),
            (HSIC_DIGITS, {"head.type": "imsvd_plugins.IMSVDHead"}, r"model\.head of SSLHSIC must .*got IMSVDHead"),
            (IMSVD_DIGITS, {"head.type": "LatentPredictHead"}, r"model\.head of IMSVD must .*got LatentPredictHead"),
            (IMSVD_DIGITS, {"head.type": "IMSVDHed"}, r"model\.head\.type .* such as 'imsvd_plugins\.IMSVDHead', got"),
            (IMSVD_DIGITS, {"head": "IMSVDHead"}, r"model\.head must be a config, a dict with a type, got 'IMSVDHead'"),
        ],
    )  # fmt: skip
    def test_is_refused_when_the_runner_is_made_and_named_in_the_last_line(self, small, run, name, options, message):
        # `run` would also train; a wrong config must not get so far.
        cfg = small(name, **{f"model.{key}": value for key, value in options.items()})
        cfg.train_dataloader = {"type": "would fail, were it built"}
        with pytest.raises((TypeError, ValueError)) as failure:
            run(cfg)
        (line,) = traceback.format_exception_only(failure.value)
        assert re.search(message, line), line

    def test_a_width_that_is_no_multiple_is_found_without_a_config_too(self):
        neck = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
        with pytest.raises(ValueError, match=r"model\.neck\.out_channels .* \(4\), such as 8 or 12, got 10"):
            IMSVD(BACKBONE, neck, IMSVD_HEAD)
        # What does not tell its width is left to the first step.
        IMSVD(BACKBONE, nn.Flatten(), IMSVD_HEAD)

    def test_with_anothers_algorithm_the_width_is_checked_in_the_first_step(self, views):
        config = {"type": "BarlowTwins", "backbone": BACKBONE, "neck": {**NECK, "out_channels": 10}, "head": IMSVD_HEAD}
        model = MODELS.build(config)
        with pytest.raises(ValueError, match=r"model\.neck\.out_channels .* \(4\), such as 8 or 12, got 10"):
            model.loss(views[:2], [])

    def test_a_predictor_that_does_not_fit_the_neck_is_named(self):
        head = {**HSIC_HEAD, "predictor": {**PREDICTOR, "in_channels": 9}}
        with pytest.raises(ValueError, match=r"model\.head\.predictor\.in_channels must be .*\(8\), got 9"):
            hsic(head=head)

    @pytest.mark.parametrize("model_class", [IMSVD, SSLHSIC])
    def test_a_missing_part_is_named(self, model_class):
        with pytest.raises(ValueError, match=r"model\.neck"):
            model_class(BACKBONE, head=IMSVD_HEAD)
        with pytest.raises(ValueError, match=rf"model\.head must be given for {model_class.__name__}"):
            model_class(BACKBONE, NECK)

    def test_a_head_of_another_kind_is_named(self):
        with pytest.raises(ValueError, match=r"model\.head of IMSVD must be an imsvd_plugins\.IMSVDHead.*HSICHead"):
            IMSVD(BACKBONE, NECK, HSIC_HEAD)
        with pytest.raises(ValueError, match=r"model\.head of SSLHSIC .*Linear"):
            hsic(head=nn.Linear(1, 1))

    @pytest.mark.parametrize("momentum", [0, 1, 0.99 + 1, -0.1])
    def test_a_momentum_out_of_range_is_named(self, momentum):
        with pytest.raises(ValueError, match=r"model\.base_momentum"):
            hsic(base_momentum=momentum)

    def test_imsvd_takes_any_number_of_views_of_any_size(self, views):
        model = IMSVD(BACKBONE, NECK, IMSVD_HEAD)
        sizes = [views[0], views[1], views[2][:, :, ::2, ::2]]
        terms = model.loss(sizes, [])
        expected = model.head.loss_module(*(model.neck(model.backbone(view))[0] for view in sizes))
        torch.testing.assert_close(terms["loss"], expected)

    def test_a_wrong_number_of_views_names_the_transform(self, views, max_iters):
        model = IMSVD(BACKBONE, NECK, IMSVD_HEAD)
        for wrong, shown in ((views[:1], "1"), (views[0], "a Tensor")):
            with pytest.raises(ValueError, match=rf"two or more views, got {shown}: see num_views of the MultiView"):
                model.loss(wrong, [])
        with pytest.raises(ValueError, match="two or more views, got 1"):
            hsic().loss(views[:1], [])
        with pytest.raises(ValueError, match="two or more views, got 1"):
            hsic(base_momentum=0.01).loss(views[:1], [])


@pytest.mark.parametrize("name", ["imsvd", "ssl_hsic with predictor and target"])
def test_a_batch_in_chunks_trains_as_the_whole(name, views, max_iters):
    answers = []
    for chunk_size in (None, 3):
        torch.manual_seed(0)
        if name == "imsvd":
            model = IMSVD(BACKBONE, NECK, IMSVD_HEAD, chunk_size=chunk_size)
        else:
            model = hsic(base_momentum=0.01, head={**HSIC_HEAD, "predictor": PREDICTOR}, chunk_size=chunk_size)
        # In evaluation mode batch normalisation does not depend on what is computed together.
        model.eval().double()
        sizes = []
        model.backbone.register_forward_hook(lambda module, inputs, output, sizes=sizes: sizes.append(len(inputs[0])))
        loss = model.loss([view.double() for view in views[:2]], [])["loss"]
        loss.backward()
        answers.append(
            [loss.detach(), *(parameter.grad for parameter in model.parameters() if parameter.requires_grad)]
        )
        # Chunks pass twice, a target network's chunks once.
        assert sorted(set(sizes)) == ([8] if chunk_size is None else [2, 3])
        assert len(sizes) == 2 if chunk_size is None else len(sizes) == 2 * 3 * 2
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chunk_size", [0, "64", True, 2.0])
def test_a_wrong_chunk_size_is_named(chunk_size):
    with pytest.raises((TypeError, ValueError), match=r"model\.chunk_size must be an int >= 1, got "):
        IMSVD(BACKBONE, NECK, IMSVD_HEAD, chunk_size=chunk_size)
