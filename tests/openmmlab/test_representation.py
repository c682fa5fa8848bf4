"""The hook that shows label-free figures during pretraining."""

import json

import pytest
import torch
from mmengine.config import ConfigDict

from imsvd_plugins.functional import diagnostics
from imsvd_plugins.openmmlab import RepresentationHook

IMSVD = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
HSIC = "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits"
HOOK = {"type": "imsvd_plugins.RepresentationHook", "num_samples": 24}
COMMON = {"rankme", "alignment", "uniformity"}


@pytest.mark.parametrize(
    ("config", "names"), [(IMSVD, COMMON | set(diagnostics.VariableMetrics._fields)), (HSIC, COMMON)]
)
def test_log_hub_and_visual_backends_show_the_figures(small, run, tmp_path, config, names):
    runner = run(
        small(
            config,
            custom_hooks=[HOOK],
            **{"model.head.loss.num_bins": 8} if config == IMSVD else {"model.head.loss.num_features": 16},
        )
    )
    lines = [json.loads(line) for line in next(tmp_path.rglob("scalars.json")).read_text().splitlines()]
    shown = [line for line in lines if "loss" not in line]
    assert [set(line) - {"step"} for line in shown] == [names] * 2
    for name in names:
        assert runner.message_hub.get_scalar(f"metrics/{name}").data[0].tolist() == [line[name] for line in shown]
    log = next(tmp_path.rglob("*.log")).read_text()
    assert "Epoch(representation) [2]  rankme: " in log
    for name in names:
        assert log.count(f"\n  {name}: {diagnostics.MEANINGS[name]}\n") == 1
    assert diagnostics.MEANINGS.keys() == COMMON | set(diagnostics.VariableMetrics._fields)


def test_they_are_the_figures_of_the_same_images_by_hand(small, run):
    runner = run(small(HSIC, custom_hooks=[{**HOOK, "num_samples": 32}]))
    # Both views of a view pipeline without chance are the image itself.
    still = small(HSIC, custom_hooks=[{**HOOK, "num_samples": 32}])
    still.train_dataloader.dataset.pipeline[0].transforms = [[]]
    runner = run(still)
    model = runner.model.eval()
    with torch.no_grad():
        batch = model.data_preprocessor(
            {
                "inputs": [torch.stack([runner.train_loop.dataloader.dataset[i]["inputs"][0] for i in range(32)])] * 2,
                "data_samples": None,
            }
        )
        features = model.backbone(batch["inputs"][0])
        z = model.neck(features)[0]
    found = {name: runner.message_hub.get_scalar(f"metrics/{name}").current() for name in COMMON}
    assert found["alignment"] == pytest.approx(0, abs=1e-5)
    assert found["rankme"] == pytest.approx(diagnostics.rankme(features[-1].mean(dim=(2, 3))), rel=1e-3)
    assert found["uniformity"] == pytest.approx(diagnostics.uniformity(z), rel=1e-3)


def test_training_goes_on_as_without_it(small, run, tmp_path):
    without = run(small(IMSVD), tmp_path / "without")
    with_it = run(small(IMSVD, custom_hooks=[HOOK]), tmp_path / "with")
    for name, value in without.model.state_dict().items():
        assert torch.equal(value, with_it.model.state_dict()[name]), name
    assert with_it.model.training


def test_a_collapse_is_warned_of_by_the_figure_that_shows_it(small, run, tmp_path):
    cfg = small(HSIC, custom_hooks=[HOOK], **{"train_cfg.max_epochs": 1})
    cfg.optim_wrapper.optimizer = ConfigDict(type="SGD", lr=0.0)
    cfg.model.neck = ConfigDict(
        type="NonLinearNeck",
        in_channels=32,
        hid_channels=8,
        out_channels=32,
        init_cfg=[dict(type="Constant", layer="Linear", val=0.0, bias=1.0)],
        with_bias=True,
        with_last_bn=False,
        with_last_bias=True,
    )
    run(cfg)
    assert "The representation has collapsed: uniformity is" in next(tmp_path.rglob("*.log")).read_text()


def test_it_works_on_mmpretrains_own_algorithms(small, run):
    cfg = small(IMSVD, custom_hooks=[HOOK], **{"train_cfg.max_epochs": 1})
    cfg.model.type = "BarlowTwins"
    cfg.model.head = ConfigDict(
        type="LatentCrossCorrelationHead", in_channels=32, loss={"type": "CrossCorrelationLoss"}
    )
    hub = run(cfg).message_hub
    assert 1 <= hub.get_scalar("metrics/rankme").current() <= 24
    assert "metrics/unused_bins" not in hub.log_scalars


def test_one_view_is_refused_before_training(small, run):
    cfg = small(IMSVD, custom_hooks=[HOOK])
    cfg.train_dataloader.dataset.pipeline = [{"type": "PackInputs"}]
    with pytest.raises(ValueError, match=r"needs two views of each image.*train_dataloader.dataset.pipeline gives one"):
        run(cfg)


@pytest.mark.parametrize("options", [{"interval": 0}, {"num_samples": 1}, {"num_samples": 2.5}])
def test_a_number_out_of_range_is_named(options):
    (name, value), *_ = options.items()
    with pytest.raises((TypeError, ValueError), match=f"{name} of RepresentationHook .*{value}"):
        RepresentationHook(**options)
