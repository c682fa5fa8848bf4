"""Every SGD recipe of this package's own choice learns on real images: the small protocol, for ten epochs."""

import runpy
from pathlib import Path

import pytest
import torch
import yaml

from imsvd_plugins.commands.lightly import command

EXAMPLES = Path(__file__).parents[2] / "lightly_examples"
SMALL = runpy.run_path(str(Path(__file__).parents[1] / "small_cifar10.py"))
EPOCHS, BATCH = 10, 256
RECIPES = [
    f"{method}_{data}"
    for method in ("imsvd", "ssl_hsic")
    for data in ("cifar10", "imagenette", "multicrop_imagenette", "images")
] + ["imsvd_4views_cifar10"]
# The narrow ResNet-9 of the small protocol, as a class that a YAML file can name; its residuals begin as the recipe's.
BACKBONE = """
from lightly.models import ResNetGenerator
from torch import nn


class NarrowResNet(nn.Sequential):
    def __init__(self, zero_init_residual=False):
        resnet = ResNetGenerator("resnet-9", width=16 / 64)
        resnet.conv1.stride = (2, 2)
        if zero_init_residual:
            for block in (*resnet.layer1, *resnet.layer2, *resnet.layer3, *resnet.layer4):
                nn.init.zeros_(block.bn2.weight)
        super().__init__(*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return SMALL["write"](tmp_path_factory.mktemp("cifar10"))


def narrow(monkeypatch, folder):
    (folder / "narrow_resnet.py").write_text(BACKBONE)
    monkeypatch.syspath_prepend(folder)
    import narrow_resnet

    return narrow_resnet.NarrowResNet()


def learns(backbone, trained, images):
    """Whether the trained weights beat random ones; prints both accuracies."""
    backbone.load_state_dict(trained)
    torch.manual_seed(0)
    random, found = (SMALL["knn20"](network, images) for network in (type(backbone)(), backbone))
    print(f"kNN (20): random weights {random:.3f}, trained {found:.3f}")
    return found > random + SMALL["GAIN"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_yaml(recipe, images, tmp_path, monkeypatch):
    backbone = narrow(monkeypatch, tmp_path)
    config = yaml.safe_load((EXAMPLES / "configs" / f"{recipe}.yaml").read_text())
    small_view = yaml.safe_load((EXAMPLES / "configs" / "imsvd_cifar10.yaml").read_text())["data"]["init_args"]
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    zero_init_residual = model["backbone"]["init_args"].get("zero_init_residual", True)
    model["backbone"] = {
        "class_path": "narrow_resnet.NarrowResNet",
        "init_args": {"zero_init_residual": zero_init_residual},
    }
    model["projection_head"]["init_args"]["input_dim"] = 128
    model["warmup_epochs"] = EPOCHS // 10
    model["optimizer"]["init_args"]["lr"] *= BATCH / data["batch_size_per_device"]
    # The views of larger images would be enlarged ones of these.
    own = "cifar10" in recipe or "crop" in recipe
    transform = data["transform"] if own else small_view["transform"]
    if "crop" in recipe:
        transform["init_args"]["crop_sizes"] = [32, 24]
    config["data"] = {
        "class_path": "imsvd_plugins.lightly.data.CIFAR10DataModule",
        "init_args": {
            "root": str(images),
            "batch_size_per_device": BATCH,
            "num_workers": 0,
            "transform": transform,
        },
    }
    config["trainer"] |= {
        "max_epochs": EPOCHS,
        "default_root_dir": str(tmp_path),
        "callbacks": [],
        "logger": False,
        "enable_progress_bar": False,
        "limit_val_batches": 0,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config))
    torch.set_num_threads(1)
    command.main(["fit", "--config", str(tmp_path / "recipe.yaml")])
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert learns(backbone, part(state, "backbone."), images)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
def test_example(method, images, tmp_path, monkeypatch):
    """The three variants of an example have one optimizer, so one of them is trained."""
    backbone = narrow(monkeypatch, tmp_path)
    source = (EXAMPLES / "pytorch" / f"{method}.py").read_text()
    dataset = f"from imsvd_plugins.lightly.packed import PackedImages\ndataset = PackedImages({str(images)!r}, 'train',"
    for old, new in {
        'dataset = torchvision.datasets.CIFAR10("datasets/cifar10", download=True,': dataset,
        "resnet = torchvision.models.resnet18()\n": "import narrow_resnet\n",
        "backbone = nn.Sequential(*list(resnet.children())[:-1])": "backbone = narrow_resnet.NarrowResNet()",
        "ProjectionHead(512,": "ProjectionHead(128,",
        "num_workers=8": "num_workers=0",
    }.items():
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    (tmp_path / "example.py").write_text(source)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trained = runpy.run_path(str(tmp_path / "example.py"))["model"].backbone.state_dict()
    assert learns(backbone, trained, images)


def part(state, prefix):
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
