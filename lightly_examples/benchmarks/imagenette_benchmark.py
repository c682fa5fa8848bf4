"""Self-supervised methods on Imagenette, in the form of Lightly's benchmark.

    python imagenette_benchmark.py --data datasets/imagenette2-160

Prints

    | Model         | Batch Size | Epochs |  KNN Test Accuracy |       Time | Peak GPU Usage |

and leaves results.json and curves.png in the work folder. The README beside this file says more.
"""

from functools import partial

import torchvision
from methods import BarlowTwinsModel, BYOLModel, IMSVDModel, MocoModel, SimCLRModel, SSLHSICModel, VICRegModel
from run import Benchmark, main
from torch import nn
from views import View


def open_data(path):
    """An image folder with the parts `train` and `val`, and in each a folder a class."""
    missing = [part for part in ("train", "val") if not (path / part).is_dir()]
    if missing:
        raise FileNotFoundError(f"--data must be a folder with train/ and val/; {str(path)!r} has no {missing[0]}/.")
    parts = {"train": path / "train", "test": path / "val"}
    return lambda split, transform: torchvision.datasets.ImageFolder(parts[split], transform)


def backbone(num_splits):
    """Torchvision's ResNet-18 without its classifier; as in Lightly's benchmark without splits."""
    return nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])


# BYOL's two views, which are also those of both papers for ImageNet, at the size of Lightly's benchmark.
views = (
    View(size=128, min_scale=0.08, saturation=0.2, blur=1.0, solarization=0.0),
    View(size=128, min_scale=0.08, saturation=0.2, blur=0.1, solarization=0.2),
)

IMAGENETTE = Benchmark(
    name="Imagenette",
    open_data=open_data,
    data_help="folder with train/ and val/, and in each a folder of images a class",
    num_classes=10,
    views=views,
    stored_size=160,  # the shorter side of imagenette2-160
    backbone=backbone,
    methods={
        "imsvd": IMSVDModel,
        "ssl_hsic": partial(SSLHSICModel, hidden_dim=4096),
        "barlowtwins": partial(BarlowTwinsModel, num_layers=3),
        "vicreg": VICRegModel,
        "simclr": SimCLRModel,
        "byol": partial(BYOLModel, hidden_dim=4096),
        "moco": partial(MocoModel, hidden_dim=2048),
    },
    learning_rate=6e-2,  # Lightly's
    epochs=200,  # Lightly's
    batch_size=256,  # of Lightly's published table
)

if __name__ == "__main__":
    main(IMAGENETTE)
