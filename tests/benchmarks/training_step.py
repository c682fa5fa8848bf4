"""A whole training step of mmpretrain's ResNet-50 on the CPU: IMSVD's head beside Barlow Twins'.

    python tests/benchmarks/training_step.py [--batch 16] [--size 224] [--repeats 5]

Both models are mmpretrain's `BarlowTwins` algorithm with a projector of 8192 hidden units; they differ in the head and,
as the bins of a variable must divide it, in the projector's output: 8160 for IMSVD, 8192 for Barlow Twins. The steps
are taken in turn, so that a change of the machine's speed meets both.
"""

import argparse
import statistics
import time

import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

HEADS = {
    "IMSVDHead": (
        8160,
        dict(type="imsvd_plugins.IMSVDHead", loss=dict(type="imsvd_plugins.IMSVDLoss", num_bins=80)),
    ),
    "LatentCrossCorrelationHead": (
        8192,
        dict(type="LatentCrossCorrelationHead", in_channels=8192, loss=dict(type="CrossCorrelationLoss")),
    ),
}


def make_step(dim, head, views):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="BarlowTwins",
            backbone=dict(type="ResNet", depth=50, norm_cfg=dict(type="BN"), zero_init_residual=True),
            neck=dict(
                type="NonLinearNeck",
                in_channels=2048,
                hid_channels=8192,
                out_channels=dim,
                num_layers=2,
                with_last_bn=False,
                with_avg_pool=True,
            ),
            head=head,
        )
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad()
        model.loss(views, [])["loss"].backward()
        optimizer.step()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    init_default_scope("mmpretrain")
    views = list(torch.randn(2, arguments.batch, 3, arguments.size, arguments.size))
    steps = {name: make_step(dim, head, views) for name, (dim, head) in HEADS.items()}
    seconds = {name: [] for name in steps}
    for repeat in range(arguments.repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    for name, times in seconds.items():
        print(f"{name:28s} median {statistics.median(times):7.3f} s   min {min(times):7.3f} s")
    ours, theirs = seconds.values()
    print(f"ratio, step by step: median {statistics.median(a / b for a, b in zip(ours, theirs, strict=True)):.3f}")


if __name__ == "__main__":
    main()
