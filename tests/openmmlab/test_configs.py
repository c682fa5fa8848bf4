"""The shipped configs: they load, build, and hold SPEC's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmpretrain.registry import DATASETS, HOOKS, METRICS, MODELS
from torch import nn

import imsvd_plugins
from imsvd_plugins.openmmlab.train import resolve_config, shipped_configs

MIM = Path(imsvd_plugins.__file__).parent / ".mim"
IMSVD_IN1K = "imsvd_resnet50_8xb256-coslr-100e_in1k"
IMSVD_CIFAR = "imsvd_resnet18_1xb512-coslr-800e_cifar10"
HSIC_IN1K = "ssl-hsic_resnet50_16xb256-coslr-1000e_in1k"
PRETRAINING = [name for name in shipped_configs() if "linear" not in name]
ITERATIONS = 4


@pytest.fixture(autouse=True)
def _mmpretrain():
    init_default_scope("mmpretrain")


def load(name):
    return Config.fromfile(resolve_config(name))


def build(cfg):
    return MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})


def learning_rates(cfg):
    """The rate at the start of each iteration, and after the last."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = []
    for config in cfg.param_scheduler:
        options = {key: value for key, value in config.items() if key != "_scope_"}
        scheduler = PARAM_SCHEDULERS.get(options.pop("type"))
        if options.pop("convert_to_iter_based", False):
            options.setdefault("end", cfg.train_cfg.max_epochs)
            schedulers.append(scheduler.build_iter_from_epoch(optimizer=optimizer, epoch_length=ITERATIONS, **options))
        else:
            schedulers.append(scheduler(optimizer=optimizer, **options))
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(cfg.train_cfg.max_epochs * ITERATIONS):
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("name", shipped_configs())
def test_every_config_loads_and_builds(name):
    cfg = load(name)
    assert cfg.custom_imports["imports"] == ["imsvd_plugins.openmmlab"]
    model = build(cfg)
    build_optim_wrapper(model, cfg.optim_wrapper)
    assert len(learning_rates(cfg)) == cfg.train_cfg.max_epochs * ITERATIONS + 1
    if name in PRETRAINING:
        # Passed on as it is from the base config: another package's _scope_ would break it.
        assert cfg.train_dataloader.collate_fn == {"type": "default_collate"}
        for hook in cfg.get("custom_hooks", []):
            HOOKS.build(hook)
    else:
        assert model.backbone.frozen_stages == len(model.backbone.res_layers)
        assert METRICS.build(cfg.val_evaluator)
    for loader in [cfg.train_dataloader, cfg.get("val_dataloader")]:
        if loader is not None and loader.dataset.type == "Digits":
            assert len(DATASETS.build(loader.dataset)) in (1438, 359)


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "ranks", "rate_at_256", "end"),
    [
        (IMSVD_IN1K, 100, 256, 8, 0.6, 0.001),
        (IMSVD_CIFAR, 800, 512, 1, 0.1, 0.001),
        (HSIC_IN1K, 1000, 256, 16, 0.4, 0.0),
    ],
)
def test_schedules_are_the_papers(name, epochs, batch, ranks, rate_at_256, end):
    cfg = load(name)
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.auto_scale_lr.base_batch_size == batch * ranks
    peak = rate_at_256 * batch * ranks / 256
    rates = learning_rates(cfg)
    warm_up = 10 * ITERATIONS
    assert max(rates) == pytest.approx(peak)
    assert rates[0] == pytest.approx(1e-4 * peak)
    # Linear up to the peak, which the tenth epoch ends with; then half a cosine.
    assert rates[warm_up // 2] == pytest.approx(peak / 2, rel=0.03)
    assert max(rates[: warm_up - 1]) < peak
    middle = (len(rates) - 1 + warm_up) // 2
    assert rates[middle] == pytest.approx(peak * (1 + end) / 2, rel=1e-6)
    assert rates[-1] == pytest.approx(end * peak, abs=1e-4 * peak)


@pytest.mark.parametrize("name", [IMSVD_IN1K, HSIC_IN1K])
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
    assert adapted == 53 + (2 if name == IMSVD_IN1K else 4)


def layers(neck):
    """Width and bias of each linear layer."""
    return [
        (layer.in_features, layer.out_features, layer.bias is not None)
        for layer in neck.modules()
        if type(layer) is nn.Linear
    ]


def test_imsvd_imagenet_network():
    model = build(load(IMSVD_IN1K))
    assert type(model).__name__ == "IMSVD"
    assert (type(model.backbone).__name__, model.backbone.depth) == ("ResNet", 50)
    model.backbone.init_weights()
    assert not any(block.norm3.weight.any() for block in model.backbone.layer4)
    assert isinstance(model.backbone.norm1, nn.SyncBatchNorm)
    assert layers(model.neck) == [(2048, 8192, True), (8192, 8160, False)]
    loss = model.head.loss_module
    assert (loss.num_bins, 8160 // loss.num_bins, loss.temperature, loss.gather_distributed) == (80, 102, 1.0, True)
    assert (loss.diagonal_weight, loss.off_diagonal_weight, loss.invariance_weight) == (1.0, 1.0, 1.0)


def test_imsvd_cifar_network_and_optimizer():
    cfg = load(IMSVD_CIFAR)
    model = build(cfg)
    assert (type(model.backbone).__name__, model.backbone.depth) == ("ResNet_CIFAR", 18)
    assert layers(model.neck) == [(512, 1024, True), (1024, 1024, True), (1024, 1024, False)]
    assert model.head.loss_module.num_bins == 32
    assert cfg.optim_wrapper.optimizer == {"type": "SGD", "lr": 0.2, "momentum": 0.9, "weight_decay": 5e-4}
    [hook] = cfg.custom_hooks
    assert (hook.k, hook.temperature) == (20, 0.07)


def test_ssl_hsic_imagenet_network():
    cfg = load(HSIC_IN1K)
    model = build(cfg)
    assert type(model).__name__ == "SSLHSIC"
    assert model.backbone.depth == 50
    assert [layer[:2] for layer in layers(model.neck)] == [(2048, 4096), (4096, 256)]
    assert [layer[:2] for layer in layers(model.head.predictor)] == [(256, 4096), (4096, 256)]
    loss = model.head.loss_module
    assert (type(loss.kernel).__name__, loss.num_features, loss.gamma) == ("InverseMultiquadricKernel", 512, 3.0)
    assert loss.gather_distributed
    assert (model.target_net.momentum, model.target_net.end_momentum) == (0.01, 0.0)
    assert {key: cfg.custom_hooks[0][key] for key in ("type", "momentum")} == {"type": "EMAHook", "momentum": 0.001}


def test_linear_probes_are_the_papers():
    cfg = load("resnet50_8xb32-linear-coslr-100e_in1k")
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay, cfg.train_dataloader.batch_size) == (0.02, 1e-6, 32)
    assert cfg.train_cfg.max_epochs == 100
    assert (cfg.param_scheduler[0].type, cfg.param_scheduler[0].T_max) == ("CosineAnnealingLR", 100)

    cfg = load("resnet18_1xb256-linear-steplr-100e_cifar10")
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("SGD", 30.0, 0.0)
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (256, 100)
    assert (cfg.param_scheduler[0].milestones, cfg.param_scheduler[0].gamma) == ([60, 80], 0.1)

    cfg = load("resnet50_8xb512-linear-coslr-90e_in1k")
    assert (cfg.optim_wrapper.optimizer.lr, cfg.train_dataloader.batch_size) == (0.5 * 4096 / 256, 512)
    assert cfg.train_cfg.max_epochs == 90
    assert cfg.param_scheduler[0].end == 100


def test_imagenet_views_are_byols():
    cfg = load(IMSVD_IN1K)
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


def test_cifar_views_keep_the_order_of_the_colours():
    pipeline = load(IMSVD_CIFAR).train_dataloader.dataset.pipeline[0].transforms[0]
    red = np.zeros((32, 32, 3), dtype=np.uint8)
    red[..., 0] = 255
    without_colours = [
        transform for transform in pipeline if "Apply" not in transform.type and "Gray" not in transform.type
    ]
    assert np.array_equal(Compose(without_colours)({"img": red})["img"], red)
    assert Compose(pipeline)({"img": red})["img"].shape == (32, 32, 3)


def test_an_installed_config_can_be_inherited_from(tmp_path):
    config = tmp_path / "mine.py"
    name = "imsvd_resnet14-w24_1xb256-coslr-60e_digits.py"
    config.write_text(
        f"_base_ = [__import__('imsvd_plugins').__path__[0] + '/.mim/configs/imsvd/{name}']\n"
        "model = dict(head=dict(loss=dict(num_bins=8)))\n"
    )
    assert build(Config.fromfile(config)).head.loss_module.num_bins == 8


def test_the_index_of_mim_lists_every_config_that_exists():
    index = yaml.safe_load((MIM / "model-index.yml").read_text())
    listed = []
    for file in index["Import"]:
        content = yaml.safe_load((MIM / file).read_text())
        names = {collection["Name"] for collection in content["Collections"]}
        for collection in content["Collections"]:
            assert (MIM / collection["README"]).is_file()
        for model in content["Models"]:
            assert model["In Collection"] in names
            assert Path(model["Config"]).stem == model["Name"]
            listed.append(MIM / model["Config"])
    assert sorted(listed) == sorted(shipped_configs().values())
