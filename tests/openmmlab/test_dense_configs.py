"""The configs for mmdet and mmseg, where these are installed: `tests/tools/dense_configs.sh` makes an environment."""

import importlib
import runpy
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData

from imsvd_plugins.openmmlab.shipped_configs import resolve_config

TABLE = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "config_table.py"))
HOSTS = {path.stem: TABLE["host"](path) for path in TABLE["shipped"]() if TABLE["host"](path)}
SIDE = 64
# What the hosts' own code warns of.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(params=HOSTS)
def name(request):
    """A config whose host can be used here."""
    host = HOSTS[request.param]
    pytest.importorskip(host, reason=f"{host} is not installed", exc_type=ImportError)
    if host == "mmdet":
        pytest.importorskip("mmcv._ext", reason="mmdet needs mmcv with compiled operators", exc_type=ImportError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"{host}.datasets")
        importlib.import_module(f"{host}.models")
    DefaultScope._instance_dict.clear()
    init_default_scope(host)
    return request.param


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The checkpoint that a shipped config wrote with ResNet-50 as its backbone, and the backbone's weights in it."""
    cfg = Config.fromfile(resolve_config("imsvd_resnet14-w24_1xb256-coslr-60e_digits"))
    cfg.merge_from_dict(
        {
            "model.backbone": {"_delete_": True, "type": "ResNet", "depth": 50},
            "model.neck.in_channels": 2048,
            "train_dataloader.batch_size": 16,
            "train_dataloader.dataset.indices": 32,
            "train_cfg.max_epochs": 1,
            "default_hooks.checkpoint.interval": 1,
            "param_scheduler": [],
            "custom_hooks": [],
            "work_dir": str(tmp_path_factory.mktemp("pretraining")),
        }
    )
    runner = Runner.from_cfg(cfg)
    runner.train()
    return Path(runner.work_dir) / "epoch_1.pth", runner.model.backbone.state_dict()


def load(name, checkpoint):
    cfg = Config.fromfile(resolve_config(name))
    for part in (cfg.model.backbone, cfg.model.get("roi_head", {}).get("shared_head")):
        if part:
            part.init_cfg.checkpoint = str(checkpoint)
    return cfg


def build(name, cfg):
    models = importlib.import_module(f"{HOSTS[name]}.registry").MODELS
    return revert_sync_batchnorm(models.build(cfg.model))


def test_every_key_is_known_and_every_weight_of_the_pretraining_arrives(name, pretrained):
    checkpoint, weights = pretrained
    model = build(name, load(name, checkpoint))
    model.init_weights()
    found = dict(model.backbone.state_dict())
    if "c4" in name:
        assert not any(key.startswith("layer4") for key in found)
        found |= {key: value for key, value in model.roi_head.shared_head.state_dict().items() if "layer4" in key}
    assert found.keys() == weights.keys()
    for key, value in weights.items():
        assert torch.equal(found[key], value), key
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_pipelines_and_metrics_exist(name, pretrained):
    cfg = load(name, pretrained[0])
    if "nyu" in name:
        pytest.importorskip("albumentations", reason="mmseg's Albu needs albumentations")
    registry = importlib.import_module(f"{HOSTS[name]}.registry")
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        for dataset in loader.dataset.get("datasets", [loader.dataset]):
            Compose(dataset.pipeline)
            assert registry.DATASETS.get(dataset.type)
    evaluators = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
    assert all(registry.METRICS.get(evaluator.type) for evaluator in evaluators)


def test_it_trains_a_step_and_predicts(name, pretrained):
    cfg = load(name, pretrained[0])
    if cfg.model.data_preprocessor.get("size"):
        cfg.model.data_preprocessor.size = (SIDE, SIDE)
    model = build(name, cfg)
    batch = {
        "inputs": [torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8) for _ in range(2)],
        "data_samples": [sample(name) for _ in range(2)],
    }
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in model.backbone.conv1.parameters())
    model.eval()
    with torch.no_grad():
        [found] = model.test_step({key: value[:1] for key, value in batch.items()})
    if HOSTS[name] == "mmdet":
        assert {"bboxes", "labels", "masks", "scores"} <= set(found.pred_instances.keys())
    else:
        shown = found.pred_depth_map if "nyu" in name else found.pred_sem_seg
        assert shown.data.shape[-2:] == (SIDE, SIDE)


def sample(name):
    """The truth of one image."""
    size = {"img_shape": (SIDE, SIDE), "ori_shape": (SIDE, SIDE), "scale_factor": (1.0, 1.0)}
    if HOSTS[name] == "mmdet":
        from mmdet.structures import DetDataSample
        from mmdet.structures.mask import BitmapMasks

        truth = DetDataSample(metainfo=size)
        masks = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
        masks[:, 8:40, 8:40] = 1
        truth.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]),
            labels=torch.tensor([3]),
            masks=BitmapMasks(masks.numpy(), SIDE, SIDE),
        )
        return truth
    from mmseg.structures import SegDataSample

    truth = SegDataSample(metainfo=size)
    if "nyu" in name:
        truth.gt_depth_map = PixelData(data=10 * torch.rand(1, SIDE, SIDE))
    else:
        truth.gt_sem_seg = PixelData(data=torch.randint(0, 21, (1, SIDE, SIDE)))
    return truth
