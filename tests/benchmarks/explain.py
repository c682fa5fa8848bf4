"""Time and memory of a report on a packed file of images, by an untrained small network of 102 variables of 80 bins.

python tests/benchmarks/explain.py FILE.npz [--attributions 64] [--workers 2] [--device cpu]
"""

import argparse
import threading
import time
import warnings

import psutil
import torch
from torch import nn
from torchvision import transforms

from imsvd_plugins.explain import explain
from imsvd_plugins.explain.encoder import Encoder
from imsvd_plugins.explain.images import open_images

M, K = 102, 80


def untrained() -> Encoder:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 24), (24, 48), (48, 96), (96, 192)):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    projector = nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(192, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Linear(512, M * K),
    )
    views = [transforms.ToTensor(), transforms.Normalize([0.49, 0.48, 0.45], [0.25, 0.24, 0.26])]
    jitter = transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    augment = [transforms.RandomResizedCrop(32, scale=(0.2, 1)), transforms.RandomHorizontalFlip(), jitter]
    network = Encoder(
        nn.Sequential(*layers), projector, lambda output: output.mean(dim=(2, 3)), method="IMSVD", num_bins=K,
        temperature=0.02, plain=transforms.Compose(views), augment=transforms.Compose([*augment, *views]),
    )  # fmt: skip
    network.train()
    with torch.no_grad():  # statistics that fit
        for _ in range(50):
            network(torch.randn(256, 3, 32, 32))
    return network.eval()


def memory() -> int:
    """Bytes of this process and of its loaders, what they share counted once."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes)


def watch(peak: list[int], done: threading.Event) -> None:
    while not done.wait(0.5):
        try:
            peak[0] = max(peak[0], memory())
        except psutil.NoSuchProcess:  # a loader has ended
            continue


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("--attributions", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    network, images = untrained().to(arguments.device), open_images(arguments.images)
    peak, done = [memory()], threading.Event()
    print(f"{len(images):,} images; {peak[0] / 1e6:,.0f} MB before", flush=True)
    watcher = threading.Thread(target=watch, args=(peak, done))
    watcher.start()
    begin, cpu = time.perf_counter(), time.process_time()
    report = explain(network, images, attributions=arguments.attributions, num_workers=arguments.workers)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    done.set()
    watcher.join()
    complete = [each.completeness for each in report.attributions if each.method == "integrated gradients"]
    print(f"{seconds:,.0f} s ({cpu:,.0f} s of this process' CPU); at most {peak[0] / 1e6:,.0f} MB, loaders included")
    if complete:
        print(
            f"completeness: worst {max(complete):.4f}, {sum(c <= 0.02 for c in complete)} of {len(complete)} within 2 %"
        )
