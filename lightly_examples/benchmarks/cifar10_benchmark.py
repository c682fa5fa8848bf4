"""Self-supervised methods on CIFAR-10, in the form of Lightly's benchmark.

    python cifar10_benchmark.py --data datasets/cifar10

Prints

    | Model         | Batch Size | Epochs |  KNN Test Accuracy |       Time | Peak GPU Usage |

and leaves results.json and curves.png in the work folder. The README beside this file says more.
"""

from functools import partial

import torchvision
from lightly.models import ResNetGenerator
from methods import BarlowTwinsModel, BYOLModel, IMSVDModel, MocoModel, SimCLRModel, SSLHSICModel, VICRegModel
from run import Benchmark, main
from torch import nn
from views import View

from imsvd_plugins.lightly.packed import PackedImages


def open_data(path):
    """A folder in torchvision's form or a packed file."""
    if path.suffix == ".npz":
        PackedImages(path, "train")  # says at once what is wrong with a file
        return lambda split, transform: PackedImages(path, split, transform)
    if not (path / torchvision.datasets.CIFAR10.base_folder).is_dir():
        raise FileNotFoundError(
            f"--data must be a folder that holds torchvision's {torchvision.datasets.CIFAR10.base_folder}, or a packed "
            f"file (.npz); got {str(path)!r}."
        )
    return lambda split, transform: torchvision.datasets.CIFAR10(path, split == "train", transform)


def backbone(num_splits):
    """Lightly's ResNet-18 for small images, without its classifier."""
    resnet = ResNetGenerator("resnet-18", num_splits=num_splits)
    return nn.Sequential(*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1))


# The views of IMSVD's paper (arXiv 2501.03469) for CIFAR-10, which are those of SimSiam: no blur, no solarization.
view = View(size=32, min_scale=0.2, saturation=0.4, blur=0.0, solarization=0.0)

CIFAR10 = Benchmark(
    name="CIFAR-10",
    open_data=open_data,
    data_help="folder of torchvision's CIFAR-10, or a packed file (.npz)",
    num_classes=10,
    views=(view, view),
    stored_size=32,
    backbone=backbone,
    methods={
        "imsvd": IMSVDModel,
        "ssl_hsic": partial(SSLHSICModel, hidden_dim=1024),
        "barlowtwins": partial(BarlowTwinsModel, num_layers=2),
        "vicreg": VICRegModel,
        "simclr": SimCLRModel,
        "byol": partial(BYOLModel, hidden_dim=1024),
        "moco": partial(MocoModel, hidden_dim=512),
    },
    learning_rate=2 * 6e-2,  # Lightly's, which it gives for a batch of 128
    epochs=200,  # Lightly's; its long run, and IMSVD's paper, have 800
    batch_size=512,  # IMSVD's paper's, and Lightly's larger one
)

if __name__ == "__main__":
    main(CIFAR10)
