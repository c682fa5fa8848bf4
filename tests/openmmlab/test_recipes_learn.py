"""Every SGD recipe of this package's own choice learns on real images: the small protocol, for ten epochs."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.models.backbones.resnet import BasicBlock
from mmpretrain.models.backbones.resnet_cifar import ResNet_CIFAR
from mmpretrain.registry import DATASETS, MODELS
from torchvision.transforms import v2 as T

from imsvd_plugins.openmmlab.shipped_configs import resolve_config

pytest.importorskip("lightly", reason="the packed images are read on Lightly's side")
SMALL = runpy.run_path(str(Path(__file__).parents[1] / "small_cifar10.py"))
EPOCHS, BATCH = 10, 256
RECIPES = [
    "imsvd_resnet18_1xb512-coslr-800e_cifar10",
    "imsvd-4views_resnet18_1xb512-coslr-800e_cifar10",
    "imsvd_resnet18_1xb256-coslr-800e_imagenette",
    "imsvd_resnet18_1xb256-coslr-200e_images",
    "ssl-hsic_resnet18_1xb512-coslr-800e_cifar10",
    "ssl-hsic_resnet18_1xb256-coslr-800e_imagenette",
    "ssl-hsic_resnet18_1xb256-coslr-200e_images",
]
BACKBONE = {"type": "SmallResNet", "depth": 10, "base_channels": 16, "stem_channels": 16}


@MODELS.register_module()
class SmallResNet(ResNet_CIFAR):
    """The small protocol's network: one block a stage, and stride 2 at the entrance."""

    arch_settings = {10: (BasicBlock, (1, 1, 1, 1))}  # noqa: RUF012

    def _make_stem_layer(self, in_channels, base_channels):
        super()._make_stem_layer(in_channels, base_channels)
        self.conv1.stride = (2, 2)


@DATASETS.register_module()
class SmallCIFAR10(torch.utils.data.Dataset):
    """The decoded RGB images; it stands for the recipe's files on a disk."""

    def __init__(self, packed, pipeline):
        from mmengine.dataset import Compose

        from imsvd_plugins.lightly.packed import PackedImages

        self.images, self.pipeline = PackedImages(packed), Compose(pipeline)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image, label = self.images[index]
        return self.pipeline({"img": np.array(image), "img_shape": (32, 32), "ori_shape": (32, 32), "gt_label": label})


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return SMALL["write"](tmp_path_factory.mktemp("cifar10"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe(recipe, images, tmp_path):
    cfg = Config.fromfile(resolve_config(recipe))
    cfg.randomness = {"seed": 0}
    model = cfg.model
    zero_init_residual = model.backbone.get("zero_init_residual", True)
    model.backbone = BACKBONE | {"zero_init_residual": zero_init_residual}
    model.neck.in_channels = 128
    cfg.optim_wrapper.optimizer.lr *= BATCH / cfg.train_dataloader.batch_size
    for scheduler in cfg.param_scheduler:
        scheduler.warm_up = EPOCHS // 10
    cfg.train_cfg.max_epochs = EPOCHS
    # The views of larger images would be enlarged and blurred ones of these.
    small = cfg if "cifar10" in recipe else Config.fromfile(resolve_config(RECIPES[0]))
    cfg.data_preprocessor = small.data_preprocessor
    pipeline = small.train_dataloader.dataset.pipeline
    cfg.train_dataloader.dataset = {"type": "SmallCIFAR10", "packed": str(images), "pipeline": pipeline}
    cfg.train_dataloader |= {"batch_size": BATCH, "num_workers": 0, "persistent_workers": False}
    cfg.train_dataloader.batch_sampler.drop_last = True
    cfg.custom_hooks = []
    cfg.default_hooks.checkpoint = {"type": "CheckpointHook", "interval": EPOCHS}
    for key in ("test_dataloader", "test_evaluator", "test_cfg"):
        cfg[key] = None
    cfg.work_dir = str(tmp_path)
    torch.set_num_threads(1)
    runner = Runner.from_cfg(cfg)
    runner.train()
    mean, std = (torch.tensor(cfg.data_preprocessor[name]).view(3, 1, 1) for name in ("mean", "std"))
    to_input = T.Compose([T.PILToTensor(), lambda pixels: (pixels.float() - mean) / std])
    torch.manual_seed(0)
    untrained = MODELS.build(BACKBONE)
    random, found = (SMALL["knn20"](network, images, to_input) for network in (untrained, runner.model.backbone))
    print(f"kNN (20): random weights {random:.3f}, trained {found:.3f}")
    assert found > random + SMALL["GAIN"]
