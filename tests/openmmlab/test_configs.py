"""Every shipped config loads and builds, its pipelines read images, and a kNN evaluation evaluates.

That it trains is the matter of ``test_one_epoch.py``.
"""

import ast
import runpy
from itertools import count
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10
from mmpretrain.registry import DATASETS, HOOKS, METRICS, MODELS

import imsvd_plugins
from imsvd_plugins.openmmlab.shipped_configs import resolve_config, shipped_configs
from imsvd_plugins.openmmlab.training.folders import with_folders

TESTS = Path(__file__).parent.parent
MIM = Path(imsvd_plugins.__file__).parent / ".mim"
TABLE = runpy.run_path(str(TESTS / "tools" / "config_table.py"))
FAKE = runpy.run_path(str(Path(__file__).with_name("fake_data.py")))
KINDS = {path.stem: TABLE["kind"](path) for path in TABLE["shipped"]()}
DENSE = [name for name, kind in KINDS.items() if kind == "dense"]
KNN = [name for name, kind in KINDS.items() if kind == "kNN"]
OTHERS = [name for name, kind in KINDS.items() if kind not in ("dense", "kNN")]
numbers = count()


@pytest.fixture(autouse=True)
def _mmpretrain():
    init_default_scope("mmpretrain")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fake")
    FAKE["write"](folder / "data")
    return folder


def load(name):
    return Config.fromfile(resolve_config(name))


def build(cfg):
    return MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})


@pytest.mark.parametrize("name", OTHERS)
def test_every_config_loads_and_builds_at_full_size(name, monkeypatch):
    # What the weights are does not matter here, and drawing them takes most of the time.
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, *args, **kwargs: tensor)
    cfg = load(name)
    assert cfg.custom_imports["imports"] == ["imsvd_plugins.openmmlab"]
    # Else `--auto-scale-lr` fails.
    assert cfg.auto_scale_lr["base_batch_size"] == TABLE["batch"](resolve_config(name))
    model = build(cfg)
    build_optim_wrapper(model, cfg.optim_wrapper)
    path = resolve_config(name)
    assert TABLE["epochs"](path) == cfg.train_cfg.max_epochs
    assert f"xb{cfg.train_dataloader.batch_size}-" in name
    if "auto_scale_lr" in cfg:
        assert cfg.auto_scale_lr.base_batch_size == TABLE["batch"](path)
    for hook in cfg.get("custom_hooks", []):
        HOOKS.build(hook)
    if KINDS[name] == "pretraining":
        # Passed on as it is from the base config: another package's _scope_ would break it.
        assert cfg.train_dataloader.collate_fn == {"type": "default_collate"}
        return
    backbone = model.backbone
    assert (backbone.init_cfg["type"], backbone.init_cfg["prefix"]) == ("Pretrained", "backbone.")
    # A linear probe trains its head alone, a fine-tuning everything.
    trained = {key for key, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained == (set() if "linear" in name else set(dict(backbone.named_parameters())))
    assert [METRICS.build(metric) for metric in _as_list(cfg.val_evaluator)]
    classes = getattr(DATASETS.get(cfg.train_dataloader.dataset.type), "METAINFO", {}).get("classes")
    if classes:
        assert cfg.model.head.num_classes == len(classes)


def _as_list(value):
    return value if isinstance(value, list) else [value]


class OneEpoch(Hook):
    def after_train_epoch(self, runner):
        # The schedules keep their length, and the epoch still ends with an evaluation.
        runner.train_loop.stop_training = True


def shrink(cfg):
    """A narrow network, small images, two batches of four; the rest as it is."""
    for loader in _loaders(cfg):
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
    _smaller_images(cfg)
    model = cfg.model
    width = 64
    if "ViT" in model.backbone.type:
        arch = {"embed_dims": width, "num_layers": 2, "num_heads": 2, "feedforward_channels": 2 * width}
        model.backbone.update(arch=arch, img_size=32)
        if "frozen_stages" in model.backbone:
            model.backbone.frozen_stages = 2
    elif "base_channels" not in model.backbone:
        model.backbone.update(depth=18, base_channels=8, stem_channels=8)
    else:
        width = 96
    if cfg.get("train_cfg") is None:
        cfg.test_cfg.k = 2
        return
    if model.type == "ImageClassifier":
        model.head.in_channels = width
        # What a pretraining leaves behind is tested with a checkpoint, below.
        model.backbone.init_cfg = None
        cfg.train_cfg.val_interval = 1
        return
    out = 2 * model.head.loss.get("num_bins", 8)
    model.neck.update(in_channels=width, hid_channels=32, out_channels=out)
    if model.head.get("predictor"):
        model.head.predictor.update(in_channels=out, hid_channels=32, out_channels=out)
    for hook in cfg.get("custom_hooks", []):
        if hook.type == "imsvd_plugins.KNNEvalHook":
            hook.update(interval=1, k=2)


def _loaders(cfg):
    hooks = cfg.get("custom_hooks", [])
    for place in (cfg, cfg.get("test_cfg") or {}, *hooks):
        for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
            if place.get(key):
                yield place[key]
                if place[key].dataset.type == "imsvd_plugins.Digits":
                    place[key].dataset.indices = 8


def _smaller_images(value):
    if isinstance(value, dict):
        for key in ("scale", "crop_size"):
            if value.get(key) in (96, 128, 144, 224, 256):
                value[key] = {96: 24, 144: 36, 256: 36}.get(value[key], 32)
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        _smaller_images(child)


def train(cfg, folder):
    cfg.work_dir = str(folder)
    cfg.experiment_name = f"configs-{next(numbers)}"
    runner = Runner.from_cfg(cfg)
    runner.register_hook(OneEpoch())
    runner.train()
    return runner


@pytest.fixture
def _in_data(data, monkeypatch):
    monkeypatch.chdir(data)
    # The images are not CIFAR's, whose checksums its class compares.
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)


@pytest.mark.usefixtures("_in_data")
@pytest.mark.parametrize("name", OTHERS)
def test_every_pipeline_of_a_config_reads_an_image(name):
    cfg = load(name)
    if "labelled_root" in cfg:
        cfg.merge_from_dict(FAKE["FOLDERS"])
    for loader in _loaders(with_folders(cfg)):
        inputs = DATASETS.build(loader.dataset)[0]["inputs"]
        views = inputs if isinstance(inputs, list) else [inputs]
        # Arrays have their own channels and values; images are RGB.
        kind = (loader.dataset.get("channels", 3), torch.float32 if "channels" in loader.dataset else torch.uint8)
        assert all((view.shape[0], view.dtype) == kind for view in views)


@pytest.mark.usefixtures("_in_data")
@pytest.mark.parametrize("name", KNN)
def test_every_knn_config_evaluates(name, tmp_path):
    cfg = load(name)
    assert (cfg.test_cfg.k, cfg.test_cfg.temperature, cfg.model.get("head")) == (20, 0.07, None)
    assert f"xb{cfg.test_dataloader.batch_size}-" in name
    # What the two loaders give differs in nothing but the images.
    kinds = [dict(loader.dataset, split=None) for loader in (cfg.test_dataloader, cfg.test_cfg.train_dataloader)]
    assert kinds[0] == kinds[1]
    assert cfg.test_dataloader.dataset.split != cfg.test_cfg.train_dataloader.dataset.split
    build(cfg)
    shrink(cfg)
    cfg.merge_from_dict({"work_dir": str(tmp_path), "experiment_name": f"configs-{next(numbers)}"})
    assert 0 <= Runner.from_cfg(cfg).test()["knn_top1"] <= 100


@pytest.mark.usefixtures("_in_data")
def test_any_model_gets_a_knn_evaluation_as_documented(tmp_path):
    readme = (TABLE["CONFIGS"] / "benchmarks" / "README.md").read_text()
    config = tmp_path / "mine.py"
    config.write_text(readme.partition("```python\n")[2].partition("```")[0])
    cfg = Config.fromfile(config)
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        cfg[key] = None  # not needed for this, and not shrunk
    shrink(cfg)
    cfg.merge_from_dict({"work_dir": str(tmp_path), "experiment_name": f"configs-{next(numbers)}"})
    assert 0 <= Runner.from_cfg(cfg).test()["knn_top1"] <= 100


@pytest.mark.usefixtures("_in_data")
@pytest.mark.parametrize(
    ("name", "pretraining"),
    [
        ("resnet50_8xb32-knn_in1k", "imsvd_resnet50_8xb256-coslr-100e_in1k"),
        ("resnet50_8xb32-knn_in1k", "ssl-hsic_resnet50_16xb256-coslr-1000e_in1k"),
        ("resnet18_1xb256-knn_cifar10", "imsvd_resnet18_1xb512-coslr-800e_cifar10"),
        ("resnet14-w24_1xb256-knn_digits", "ssl-hsic_resnet14-w24_1xb256-coslr-60e_digits"),
    ],
)
def test_knn_sees_what_the_pretraining_saw(name, pretraining, monkeypatch):
    """Every weight of the backbone has its place, and the pixels are normalised as in the pretraining."""
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, *args, **kwargs: tensor)
    knn, trained = build(load(name)), build(load(pretraining))
    wanted = {key: value.shape for key, value in trained.backbone.state_dict().items()}
    assert {key: value.shape for key, value in knn.backbone.state_dict().items()} == wanted
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    pixels = knn.data_preprocessor({"inputs": image[None]}, False)["inputs"]
    [view] = trained.data_preprocessor({"inputs": [image[None]], "data_samples": None}, False)["inputs"]
    assert torch.equal(pixels, view)


@pytest.mark.usefixtures("_in_data")
def test_multi_crop_has_two_large_views_and_four_small_ones():
    cfg, sibling = (load(f"imsvd{part}_resnet18_1xb256-coslr-800e_imagenette") for part in ("-multicrop", ""))
    views = DATASETS.build(cfg.train_dataloader.dataset)[0]["inputs"]
    assert [tuple(view.shape) for view in views] == [(3, 128, 128)] * 2 + [(3, 96, 96)] * 4
    crops = [pipeline[0] for pipeline in cfg.train_dataloader.dataset.pipeline[1].transforms]
    assert [crop.crop_ratio_range for crop in crops] == [(0.14, 1.0), (0.14, 1.0), (0.05, 0.14)]
    cfg.train_dataloader.dataset.pipeline = sibling.train_dataloader.dataset.pipeline
    # Beside the pipeline, only the names of its crops are new.
    differing = {key for key in cfg if cfg.get(key) != sibling.get(key)}
    assert differing == {"large", "small"}


@pytest.mark.usefixtures("_in_data")
def test_a_probe_takes_the_averaged_weights_unless_told_otherwise(tmp_path):
    """What mm_configs/ssl_hsic/README.md says about the two state dicts of a checkpoint."""
    cfg = load("ssl-hsic_resnet50_16xb256-coslr-1000e_in1k")
    shrink(cfg)
    cfg.default_hooks.checkpoint.interval = 1
    runner = train(cfg, tmp_path / "pretraining")
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "EMAHook"]
    key = "layer1.0.conv1.weight"
    averaged = hook.ema_model.module.backbone.state_dict()[key]
    current = runner.model.backbone.state_dict()[key]
    assert not torch.equal(averaged, current)

    readme = (TABLE["CONFIGS"] / "ssl_hsic" / "README.md").read_text()
    code = readme.partition("```python\n")[2].partition("```")[0]
    file = tmp_path / "pretraining" / "epoch_1.pth"
    namespace = {"checkpoint": str(file), "unaveraged": str(tmp_path / "unaveraged.pth")}
    exec(code, namespace)
    for path, weights in ((file, averaged), (tmp_path / "unaveraged.pth", current)):
        probe = load("resnet50_8xb512-linear-coslr-90e_in1k")
        shrink(probe)
        probe.model.backbone.init_cfg = {"type": "Pretrained", "checkpoint": str(path), "prefix": "backbone."}
        model = MODELS.build(probe.model)
        model.init_weights()
        assert torch.equal(model.backbone.state_dict()[key], weights)


def test_the_lists_for_semi_supervised_fine_tuning_are_made_as_documented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("n02", "n10", "n01"):
        (tmp_path / "data" / "imagenet" / "train" / folder).mkdir(parents=True)
    (tmp_path / "1percent.txt").write_text("n10_7.JPEG\nn01_3.JPEG\n")
    (tmp_path / "10percent.txt").write_text("n02_1.JPEG\n")
    readme = (TABLE["CONFIGS"] / "benchmarks" / "README.md").read_text()
    section = readme.partition("## Semi-supervised")[2]
    exec(section.partition("```python\n")[2].partition("```")[0], {})
    for share, samples in (
        ("1pct", [("n10/n10_7.JPEG", 2), ("n01/n01_3.JPEG", 0)]),
        ("10pct", [("n02/n02_1.JPEG", 1)]),
    ):
        dataset = DATASETS.build(load(f"resnet50_8xb32-coslr-20e_in1k-{share}").train_dataloader.dataset)
        assert [
            (Path(sample["img_path"]), sample["gt_label"]) for sample in map(dataset.get_data_info, range(len(dataset)))
        ] == [(Path("data/imagenet/train") / path, label) for path, label in samples]


DENSE_KEYS = {
    "mask-rcnn_r50_fpn_ms-1x_coco": {"backbone", "neck", "roi_head"},
    "mask-rcnn_r50-c4_ms-1x_coco": {"data_preprocessor", "backbone", "roi_head"},
    "fcn_r50-d8_4xb4-20k_voc12aug-512x512": {"pretrained", "backbone"},
    "vpd-head_r50_4xb8-25k_nyu-480x480": {"type", "data_preprocessor", "backbone", "decode_head", "test_cfg"},
}


@pytest.mark.parametrize("name", DENSE)
def test_configs_for_other_hosts_compile_and_set_what_these_know(name):
    path = shipped_configs()[name]
    host = TABLE["host"](path)
    # Without the base, which lies in the other host.
    tree = ast.parse(path.read_text())
    lines = [node for node in tree.body if not (isinstance(node, ast.Assign) and node.targets[0].id == "_base_")]
    values = {}
    exec(compile(ast.Module(lines, []), path, "exec"), values)
    model = values["model"]
    assert set(model) == DENSE_KEYS[name]
    places = [model["backbone"], *([model["roi_head"]["shared_head"]] if "c4" in name else [])]
    for place in places:
        assert place["init_cfg"] == {"type": "Pretrained", "checkpoint": "", "prefix": "backbone."}
    if host == "mmdet":
        assert (model["backbone"]["frozen_stages"], model["backbone"]["norm_eval"]) == (-1, False)
        assert model["backbone"]["norm_cfg"] == {"type": "SyncBN", "requires_grad": True}
        packed = values["train_dataloader"]["dataset"]["pipeline"]
        assert (packed[0]["type"], packed[-1]["type"]) == ("LoadImageFromFile", "PackDetInputs")
