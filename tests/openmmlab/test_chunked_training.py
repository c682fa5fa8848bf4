"""An mmpretrain training in chunks: on ranks and with averaged weights.

The ranks read this file too, so the host is imported where it is used.
"""

import warnings

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

BOTH = pytest.mark.parametrize("method", ["IMSVD", "SSLHSIC"])
CHUNK = 4
BN = {"type": "BN1d"}


def _model(method):
    """With batch normalisation everywhere and, for SSL-HSIC, a predictor and a target network."""
    with warnings.catch_warnings():
        # What the host warns of at import.
        warnings.simplefilter("ignore")
        from mmengine.logging import MessageHub
        from mmengine.registry import init_default_scope
        from mmpretrain.registry import MODELS

        import imsvd_plugins.openmmlab  # noqa: F401
    init_default_scope("mmpretrain")
    MessageHub.get_current_instance().update_info("max_iters", 10)
    torch.manual_seed(0)
    neck = {"type": "NonLinearNeck", "in_channels": 16, "hid_channels": 8, "out_channels": 8, "norm_cfg": BN}
    head = {"type": f"imsvd_plugins.{method.removeprefix('SSL')}Head"}
    if method == "IMSVD":
        head["loss"] = {"type": "imsvd_plugins.IMSVDLoss", "num_bins": 4}
    else:
        head["loss"] = {"type": "imsvd_plugins.HSICLoss", "num_features": 32}
        head["predictor"] = {**neck, "in_channels": 8, "with_avg_pool": False}
    backbone = {
        "type": "ResNet_CIFAR",
        "depth": 18,
        "stem_channels": 8,
        "base_channels": 8,
        "num_stages": 2,
        "strides": (2, 2),
        "dilations": (1, 1),
        "out_indices": (1,),
    }
    config = {"type": f"imsvd_plugins.{method}", "backbone": backbone, "neck": neck, "head": head}
    return MODELS.build({**config, "chunk_size": CHUNK}).double()


def _views():
    return torch.rand(2, 4 * CHUNK, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _answer(model, terms):
    terms["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return terms["loss"].detach(), gradients, dict(model.named_buffers())


def _step_of_rank(rank, method, ranks):
    model = _model(method)
    parallel = DistributedDataParallel(model)  # which must live until the backward pass is done
    return _answer(model, parallel(list(_views().chunk(ranks, dim=1)[rank]), [], mode="loss"))


@BOTH
def test_the_chunks_of_two_ranks_are_those_of_one(method, run_on_ranks):
    model = _model(method)
    loss, gradients, buffers = _answer(model, model(list(_views()), [], mode="loss"))
    assert (gradients["backbone.conv1.weight"].abs() > 0).any()
    means = {name: buffer for name, buffer in buffers.items() if name.endswith("running_mean")}
    assert all(mean.abs().max() > 0 for mean in means.values())
    assert any(name.startswith("target_net.") for name in means) == (method == "SSLHSIC")
    ranks = run_on_ranks(_step_of_rank, 2, method, 2)
    for of_rank in ranks:
        torch.testing.assert_close(of_rank[0], loss, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(of_rank[1], gradients, rtol=1e-9, atol=1e-12)
    for name, buffer in buffers.items():
        if "learned_scale" in name:  # Each rank climbs by the pairs among its own vectors.
            continue
        mean = torch.stack([of_rank[2][name] for of_rank in ranks]).double().mean(dim=0)
        torch.testing.assert_close(buffer.double(), mean, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["imsvd", "ssl-hsic"])
def test_averaged_weights_are_those_of_the_whole_batch(method, small, run, tmp_path):
    # No normalisation by the batch: it would be of what is computed together.
    options = {
        "model.backbone.norm_cfg": {"type": "GN", "num_groups": 4},
        "model.neck.norm_cfg": {"type": "LN"},
        "model.neck.with_last_bn": False,
        "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}},
        "custom_hooks": [{"type": "EMAHook", "ema_type": "ExponentialMovingAverage", "momentum": 0.5}],
    }
    if method == "ssl-hsic":
        options["model.base_momentum"] = 0.01
    answers = []
    for chunk_size in (None, 5):
        cfg = small(f"{method}_resnet14-w24_1xb256-coslr-60e_digits", **options, **{"model.chunk_size": chunk_size})
        run(cfg, tmp_path / f"{chunk_size}")
        checkpoint = torch.load(tmp_path / f"{chunk_size}" / "epoch_2.pth", weights_only=False)
        answers.append([checkpoint["state_dict"], checkpoint["ema_state_dict"]])
        averaged, trained = answers[-1]
        name = "backbone.conv1.weight"
        assert not torch.allclose(averaged[name], trained[f"module.{name}"], rtol=1e-4)
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-4, atol=1e-6)
