"""The heads in mmpretrain's own algorithms, which return the loss alone: the terms are logged, and misfits refused."""

import json
from collections import Counter

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub

from imsvd_plugins.openmmlab import HSICHead, IMSVDHead

CONFIG = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
IMSVD = {"type": "imsvd_plugins.IMSVDHead", "loss": {"type": "imsvd_plugins.IMSVDLoss", "num_bins": 4}}
HSIC = {
    "type": "imsvd_plugins.HSICHead",
    "loss": {"type": "imsvd_plugins.HSICLoss", "num_features": 16},
    "predictor": {
        "type": "NonLinearNeck",
        "in_channels": 32,
        "hid_channels": 32,
        "out_channels": 32,
        "with_avg_pool": False,
    },
}
TERMS = {"IMSVDHead": {"diagonal", "off_diagonal", "invariance"}, "HSICHead": {"hsic_zy", "hsic_zz", "kernel_scale"}}


@pytest.fixture
def stock(small):
    """The small digits config with one of mmpretrain's algorithms."""

    def load(kind, head=IMSVD, **options):
        cfg = small(CONFIG, **options)
        cfg.model.type, cfg.model.head = kind, ConfigDict(head)
        return cfg

    return load


@pytest.fixture
def calls(monkeypatch):
    """What each call of a head in a training found."""
    found = []
    for kind in (IMSVDHead, HSICHead):

        def components(self, *z_views, original=kind.components, **targets):
            terms = original(self, *z_views, **targets)
            found.append({name: value.item() for name, value in terms.items()})
            return terms

        monkeypatch.setattr(kind, "components", components)
    return found


def logged(folder):
    return [json.loads(line) for line in next(folder.rglob("scalars.json")).read_text().splitlines()]


@pytest.mark.parametrize(
    ("kind", "per_step", "factor", "head"),
    [
        ("BarlowTwins", 1, 1, IMSVD),
        ("SimSiam", 2, 1, IMSVD),
        ("BYOL", 2, 4, HSIC),
        ("MoCoV3", 2, 2, IMSVD),
    ],
)
def test_terms_are_logged_as_the_mean_over_the_calls_of_a_step(
    stock, run, calls, tmp_path, kind, per_step, factor, head
):
    runner = run(stock(kind, head))
    names = TERMS[head["type"].removeprefix("imsvd_plugins.")]
    lines = logged(tmp_path)
    assert len(lines) == 4
    assert len(calls) == 4 * per_step
    for step, line in enumerate(lines):
        of_step = calls[step * per_step : (step + 1) * per_step]
        for name in names:
            assert line[name] == pytest.approx(sum(call[name] for call in of_step) / per_step), name
    hub = runner.message_hub
    losses = hub.get_scalar("train/loss").data[0]
    for step, loss in enumerate(losses):
        of_step = calls[step * per_step : (step + 1) * per_step]
        assert loss == pytest.approx(factor * sum(call["loss"] for call in of_step) / per_step)
    assert "diagonal: " in next(tmp_path.rglob("*.log")).read_text() or head is HSIC
    assert {len(hub.get_scalar(f"train/{name}").data[0]) for name in names} == {4}


def test_own_algorithms_log_each_term_once(small, run):
    hub = run(small(CONFIG, **{"model.head.loss.num_bins": 8})).message_hub
    assert {len(hub.get_scalar(f"train/{name}").data[0]) for name in ("loss", *TERMS["IMSVDHead"])} == {4}


def test_resumed_histories_go_on(stock, run, tmp_path):
    run(stock("SimSiam", **{"train_cfg.max_epochs": 1}), tmp_path)
    cfg = stock("SimSiam")
    cfg.resume, cfg.load_from = True, str(tmp_path / "epoch_1.pth")
    hub = run(cfg, tmp_path / "resumed").message_hub
    assert {len(hub.get_scalar(f"train/{name}").data[0]) for name in ("loss", *TERMS["IMSVDHead"])} == {4}


def test_a_step_of_accumulated_gradients_has_one_mean(stock, run, calls):
    cfg = stock("BarlowTwins")
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.param_scheduler = []  # mmengine's would warn that the first step has no optimizer step before it
    hub = run(cfg).message_hub
    values = hub.get_scalar("train/diagonal").data[0]
    expected = [(a["diagonal"] + b["diagonal"]) / 2 for a, b in zip(calls[::2], calls[1::2], strict=True)]
    assert values.tolist() == pytest.approx(expected)


@pytest.mark.slow
# torch's compiler looks at each tensor's gradient and hides its own warning of that, unless warnings are errors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_training_logs_them_too(stock, run):
    cfg = stock("BarlowTwins", **{"train_cfg.max_epochs": 1})
    cfg.compile = {"backend": "eager"}
    hub = run(cfg).message_hub
    assert len(hub.get_scalar("train/diagonal").data[0]) == 2


def test_terms_wait_for_the_end_of_the_step(stock, run, monkeypatch):
    """A value taken off the device amid a step would make it wait."""
    order = []
    monkeypatch.setattr(
        MessageHub,
        "update_scalar",
        lambda self, key, *args, original=MessageHub.update_scalar: order.append(key) or original(self, key, *args),
    )
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *args, **kwargs: order.append("step") or step(self, *args, **kwargs)
    )
    run(stock("SimSiam", **{"train_cfg.max_epochs": 1}))
    first = order[order.index("step") + 1 :]
    assert first[:4] == ["train/diagonal", "train/off_diagonal", "train/invariance", "train/loss"]
    assert Counter(order)["train/diagonal"] == 2


def test_without_a_runner_or_a_gradient_nothing_is_logged(stock, run):
    runner = run(stock("BarlowTwins", **{"train_cfg.max_epochs": 1}))
    head, hub = runner.model.head, runner.message_hub
    z_a, z_b = torch.randn(2, 16, 32, requires_grad=True)
    optimizer = torch.optim.SGD([torch.nn.Parameter(z_a)], lr=0.1)

    def steps_logged():
        head.loss(z_a, z_b)
        optimizer.step()
        return len(hub.get_scalar("train/diagonal").data[0])

    assert steps_logged() == 2  # the training is over
    hub.update_info("loop_stage", "train")
    with torch.no_grad():
        assert steps_logged() == 2
    assert steps_logged() == 3


def test_a_target_networks_projections_do_not_pass_the_predictor():
    head = HSICHead({**HSIC["loss"], "seed": 1}, predictor={**HSIC["predictor"], "type": "mmpretrain.NonLinearNeck"})
    seen = []
    head.predictor.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][0]))
    online, target = torch.randn(16, 32, requires_grad=True), torch.randn(16, 32)
    head.loss(online, target)
    assert [view is online for view in seen] == [True]
    head.loss(online, torch.randn(16, 32, requires_grad=True))
    assert len(seen) == 3


VIT = {"type": "MAEViT", "arch": "deit-t", "img_size": 16, "patch_size": 8, "mask_ratio": 0.5}
DECODER = {
    "type": "MAEPretrainDecoder",
    "num_patches": 4,
    "patch_size": 8,
    "embed_dim": 192,
    "decoder_embed_dim": 32,
    "decoder_depth": 1,
    "decoder_num_heads": 2,
}
NECK = {"in_channels": 32, "hid_channels": 32, "out_channels": 32}
QUEUE = {"queue_len": 64, "feat_dim": 32}
MISFITS = {
    "SimCLR": ({}, "SimCLR, MoCo and DenseCL pass similarities", r"\(32, 1\) and \(32, 30\)"),
    "MoCo": (QUEUE, "SimCLR, MoCo and DenseCL pass similarities", r"\(16, 1\) and \(16, 64\)"),
    "DenseCL": (
        {**QUEUE, "neck": {"type": "DenseCLNeck", "num_grid": None, **NECK}},
        "SimCLR, MoCo and DenseCL pass similarities",
        r"\(16, 1\) and \(16, 64\)",
    ),
    "SwAV": (
        {"neck": {"type": "SwAVNeck", "norm_cfg": {"type": "BN1d"}, **NECK}},
        "SwAV and the masked-image algorithms call",
        r"\(32, 32\)\.",
    ),
    "MAE": (
        {"backbone": VIT, "neck": DECODER},
        "SwAV and the masked-image algorithms call",
        r"\(16, 4, 192\) and \(16, 3, 16, 16\) and \(16, 4\)",
    ),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_algorithms_that_call_their_head_otherwise_are_refused_with_the_reason(stock, run, kind):
    parts, reason, got = MISFITS[kind]
    cfg = stock(kind, HSIC if kind == "SimCLR" else IMSVD)
    for key, part in parts.items():
        cfg.model[key] = ConfigDict(part) if isinstance(part, dict) else part
    if kind == "MAE":
        cfg.train_dataloader.dataset.pipeline = [{"type": "PackInputs"}]
    with pytest.raises(ValueError, match=rf"^model\.head: (IMSVD|HSIC)Head takes .* got {got}.*{reason}.*BarlowTwins"):
        run(cfg)


def test_a_head_that_is_called_as_a_module_is_refused_too():
    with pytest.raises(ValueError, match=r"got .*masked-image algorithms"):
        IMSVDHead(IMSVD["loss"])(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8))
