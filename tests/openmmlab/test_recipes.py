"""The papers' recipes: the shipped configs hold them, as the built schedulers, optimizers and networks really are."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmpretrain.registry import HOOKS, MODELS
from torch import nn

from imsvd_plugins.openmmlab.shipped_configs import resolve_config

IMSVD = "imsvd_resnet50_8xb256-coslr-100e_in1k"
IMSVD_NODES = "imsvd_resnet50_32xb64-coslr-100e_in1k"
IMSVD_CIFAR = "imsvd_resnet18_1xb512-coslr-800e_cifar10"
IMSVD_CIFAR100 = "imsvd_resnet18_1xb512-coslr-800e_cifar100"
HSIC = "ssl-hsic_resnet50_16xb256-coslr-1000e_in1k"
HSIC_SHORT = "ssl-hsic_resnet50_16xb256-coslr-100e_in1k"
NO_TARGET = "ssl-hsic-no-target_resnet50_16xb256-coslr-1000e_in1k"
ITERATIONS = 4
# Epochs, GPUs, batch a GPU, rate for a batch of 256, warm-up epochs, end as a share of the peak.
SCHEDULES = {
    IMSVD: (100, 8, 256, 0.6, 10, 0.001),
    IMSVD_NODES: (100, 32, 64, 0.6, 10, 0.001),
    IMSVD_CIFAR: (800, 1, 512, 0.1, 10, 0.001),
    IMSVD_CIFAR100: (800, 1, 512, 0.1, 10, 0.001),
    HSIC: (1000, 16, 256, 0.4, 10, 0.0),
    HSIC_SHORT: (100, 16, 256, 0.4, 10, 0.0),
    NO_TARGET: (1000, 16, 256, 0.4, 10, 0.0),
}


@pytest.fixture(autouse=True)
def _mmpretrain():
    init_default_scope("mmpretrain")


def load(name):
    return Config.fromfile(resolve_config(name))


def build(cfg):
    return MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})


def learning_rates(cfg, scale=1.0, iterations=ITERATIONS):
    """The rate at the start of each iteration, and after the last; ``scale`` is what ``--auto-scale-lr`` would do."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=scale * cfg.optim_wrapper.optimizer.lr)
    epochs = cfg.train_cfg.max_epochs
    schedulers = []
    for config in cfg.param_scheduler:
        # The default end is what mmengine's runner sets.
        by_epoch = config.get("by_epoch", True)
        schedulers.append(
            PARAM_SCHEDULERS.build(
                {"end": epochs if by_epoch else epochs * iterations, **config},
                default_args={"optimizer": optimizer, "epoch_length": iterations},
            )
        )
    rates = [optimizer.param_groups[0]["lr"]]
    for iteration in range(1, epochs * iterations + 1):
        optimizer.step()
        for scheduler, config in zip(schedulers, cfg.param_scheduler, strict=True):
            by_epoch = config.get("by_epoch", True) and not config.get("convert_to_iter_based")
            if not by_epoch or iteration % iterations == 0:
                scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_rates_of_pretraining(name, scale):
    epochs, gpus, batch, rate_at_256, warm_up, end = SCHEDULES[name]
    cfg = load(name)
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.auto_scale_lr.base_batch_size == batch * gpus
    peak = scale * rate_at_256 * batch * gpus / 256
    rates = learning_rates(cfg, scale)
    start = warm_up * ITERATIONS
    assert max(rates) == pytest.approx(peak)
    assert rates[0] == pytest.approx(1e-4 * peak)
    # Linear up to the peak, which the tenth epoch ends with; then half a cosine.
    assert rates[start // 2] == pytest.approx(peak / 2, rel=0.03)
    assert max(rates[: start - 1]) < peak
    middle = (len(rates) - 1 + start) // 2
    assert rates[middle] == pytest.approx(peak * (1 + end) / 2, rel=1e-6)
    assert rates[-1] == pytest.approx(end * peak, abs=1e-4 * peak)


@pytest.mark.parametrize("name", [IMSVD, HSIC])
def test_lars_leaves_biases_and_norms_without_decay_and_adaptation(name):
    cfg = load(name)
    model = build(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer).__name__ == "LARS"
    assert {key: optimizer.defaults[key] for key in ("momentum", "weight_decay", "eta")} == {
        "momentum": 0.9,
        "weight_decay": 1e-6,
        "eta": 1e-3,
    }
    group_of = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    adapted = 0
    for module in model.modules():
        for key, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            group = group_of[id(parameter)]
            excluded = key == "bias" or isinstance(module, nn.modules.batchnorm._BatchNorm)
            assert group["weight_decay"] == (0 if excluded else 1e-6)
            assert group.get("lars_exclude", False) is excluded
            assert group["lr"] == optimizer.defaults["lr"]
            adapted += not excluded
    # 53 convolutions, and the linear layers.
    assert adapted == 53 + (2 if name == IMSVD else 4)


def test_sgd_of_cifar_decays_everything():
    cfg = load(IMSVD_CIFAR)
    optimizer = build_optim_wrapper(build(cfg), cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.SGD
    assert {(group["momentum"], group["weight_decay"]) for group in optimizer.param_groups} == {(0.9, 5e-4)}


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("imsvd_vit-small-p16_8xb256-coslr-300e_in1k", 2048),
        ("ssl-hsic_vit-small-p16_16xb256-coslr-300e_in1k", 4096),
    ],
)
def test_adamw_of_a_vit_decays_matrices_alone(name, batch):
    cfg = load(name)
    model = build(cfg)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim > 1 and not key.endswith("cls_token")
            assert (id(parameter) in decayed) is matrix, key
    assert max(learning_rates(cfg)) == pytest.approx(1.5e-4 * batch / 256)
    assert (model.backbone.embed_dims, len(model.backbone.layers)) == (384, 12)


def layers(neck):
    """Width and bias of each linear layer."""
    return [
        (layer.in_features, layer.out_features, layer.bias is not None)
        for layer in neck.modules()
        if type(layer) is nn.Linear
    ]


def test_imsvd_imagenet_network():
    model = build(load(IMSVD))
    assert type(model).__name__ == "IMSVD"
    assert (type(model.backbone).__name__, model.backbone.depth) == ("ResNet", 50)
    model.backbone.init_weights()
    assert not any(block.norm3.weight.any() for block in model.backbone.layer4)
    assert isinstance(model.backbone.norm1, nn.SyncBatchNorm)
    assert layers(model.neck) == [(2048, 8192, True), (8192, 8160, False)]
    loss = model.head.loss_module
    assert (loss.num_bins, 8160 // loss.num_bins, loss.temperature, loss.gather_distributed) == (80, 102, 1.0, True)
    assert (loss.diagonal_weight, loss.off_diagonal_weight, loss.invariance_weight) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("name", [IMSVD_CIFAR, IMSVD_CIFAR100])
def test_imsvd_cifar_network(name):
    cfg = load(name)
    model = build(cfg)
    assert (type(model.backbone).__name__, model.backbone.depth) == ("ResNet_CIFAR", 18)
    assert model.backbone.conv1.kernel_size == (3, 3)
    assert layers(model.neck) == [(512, 1024, True), (1024, 1024, True), (1024, 1024, False)]
    assert model.head.loss_module.num_bins == 32
    [hook] = cfg.custom_hooks
    assert (hook.k, hook.temperature) == (20, 0.07)
    kinds = {loader.dataset.type for loader in (cfg.train_dataloader, hook.train_dataloader, hook.test_dataloader)}
    assert kinds == {"CIFAR100" if name == IMSVD_CIFAR100 else "CIFAR10"}


def test_ssl_hsic_imagenet_network():
    cfg = load(HSIC)
    model = build(cfg)
    assert type(model).__name__ == "SSLHSIC"
    assert model.backbone.depth == 50
    assert [layer[:2] for layer in layers(model.neck)] == [(2048, 4096), (4096, 256)]
    assert [layer[:2] for layer in layers(model.head.predictor)] == [(256, 4096), (4096, 256)]
    loss = model.head.loss_module
    assert (type(loss.kernel).__name__, loss.num_features, loss.gamma) == ("InverseMultiquadricKernel", 512, 3.0)
    assert (loss.features, loss.learn_scale, loss.gather_distributed) == ("rff", True, True)
    assert (model.target_net.momentum, model.target_net.end_momentum) == (0.01, 0.0)


@pytest.mark.parametrize(
    ("kernel", "name"), [("gaussian", "Gaussian"), ("laplacian", "Laplacian"), ("linear", "Linear")]
)
def test_kernels_change_nothing_else(kernel, name):
    cfg, imq = load(f"ssl-hsic-{kernel}_resnet50_16xb256-coslr-100e_in1k"), load(HSIC_SHORT)
    assert type(build(cfg).head.loss_module.kernel).__name__ == f"{name}Kernel"
    cfg.model.head.loss.kernel = "imq"
    assert cfg.to_dict() == imq.to_dict()


def test_without_a_target_network_there_is_no_predictor():
    model = build(load(NO_TARGET))
    assert model.target_net is None
    assert model.head.predictor is None
    assert (model.neck.bn1.affine, model.neck.bn1.num_features) == (False, 256)


@pytest.mark.parametrize("name", [HSIC, HSIC_SHORT, NO_TARGET])
def test_averaged_weights_keep_999_of_1000(name):
    [config] = load(name).custom_hooks
    hook = HOOKS.build(config)
    average = MODELS.build({**hook.ema_cfg, "model": nn.Linear(1, 1, bias=False)})
    with torch.no_grad():
        for value in (1.0, 0.0):
            source = nn.Linear(1, 1, bias=False)
            source.weight.fill_(value)
            average.update_parameters(source)
    # The first update copies.
    assert average.module.weight.item() == pytest.approx(0.999)


# Decay, epochs, global batch, iterations an epoch, and the rates at some epochs.
PROBES = {
    "resnet50_8xb32-linear-coslr-100e_in1k": (1e-6, 100, 256, 4, {0: 0.02, 50: 0.01, 100: 0}),
    "resnet18_1xb256-linear-steplr-100e_cifar10": (0, 100, 256, 4, {0: 30, 59: 30, 61: 3, 79: 3, 81: 0.3, 100: 0.3}),
    # ImageNet's 313 iterations an epoch: the warm-up is 100 of them, and the cosine runs from the first.
    "resnet50_8xb512-linear-coslr-90e_in1k": (0, 90, 4096, 313, {0: 8e-4, 50 / 313: 4, 100 / 313: 8, 45: 4, 90: 0}),
}


@pytest.mark.parametrize("name", PROBES)
def test_linear_probes(name):
    decay, epochs, batch, iterations, expected = PROBES[name]
    cfg = load(name)
    optimizer = build_optim_wrapper(build(cfg), cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.SGD
    assert {group["weight_decay"] for group in optimizer.param_groups} == {decay}
    assert cfg.train_cfg.max_epochs == epochs
    gpus = int(name.split("_")[1].partition("xb")[0])
    assert cfg.train_dataloader.batch_size * gpus == batch
    rates = learning_rates(cfg, iterations=iterations)
    for epoch, rate in expected.items():
        assert rates[round(epoch * iterations)] == pytest.approx(rate, rel=0.02, abs=1e-5)


def test_imagenet_views_are_byols():
    cfg = load(IMSVD)
    _, views, _ = cfg.train_dataloader.dataset.pipeline
    shown = []
    for pipeline in views.transforms:
        names = {transform.type: transform for transform in pipeline}
        jitter = names["RandomApply"].transforms[1]
        assert [jitter[key] for key in ("brightness", "contrast", "saturation", "hue")] == [0.4, 0.4, 0.2, 0.1]
        assert (names["RandomApply"].prob, names["RandomGrayscale"].prob) == (0.8, 0.2)
        shown.append((names["GaussianBlur"].prob, names["Solarize"].prob))
        image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
        view = Compose(pipeline)({"img": image})["img"]
        assert (view.shape, view.dtype) == ((224, 224, 3), np.uint8)
    assert shown == [(1.0, 0.0), (0.1, 0.2)]


def test_cifar_views_are_the_papers_and_keep_the_order_of_the_colours():
    pipeline = load(IMSVD_CIFAR).train_dataloader.dataset.pipeline[0].transforms[0]
    names = {transform.type: transform for transform in pipeline}
    assert names["torchvision/RandomResizedCrop"].scale == (0.2, 1.0)
    jitter = names["RandomApply"].transforms[0]
    assert [jitter[key] for key in ("brightness", "contrast", "saturation", "hue")] == [0.4, 0.4, 0.4, 0.1]
    assert (names["RandomApply"].prob, names["torchvision/RandomGrayscale"].p) == (0.8, 0.2)
    assert not any("Blur" in name for name in names)
    red = np.zeros((32, 32, 3), dtype=np.uint8)
    red[..., 0] = 255
    without_colours = [
        transform for transform in pipeline if "Apply" not in transform.type and "Gray" not in transform.type
    ]
    assert np.array_equal(Compose(without_colours)({"img": red})["img"], red)
    assert Compose(pipeline)({"img": red})["img"].shape == (32, 32, 3)
