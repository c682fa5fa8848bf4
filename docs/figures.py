"""Draw the figures of the documentation with the package's own functions: ``python docs/figures.py [NAME ...]``.

They are committed in ``docs/images``, so that a build of the site computes nothing. Drawing all of them takes about a
minute on one CPU core.
"""

import math
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from torch import Tensor, nn

from imsvd_plugins import functional as F
from imsvd_plugins.data.digits import load_digits
from imsvd_plugins.functional.kernels import GaussianKernel, InverseMultiquadricKernel, LaplacianKernel
from imsvd_plugins.losses import IMSVDLoss

IMAGES = Path(__file__).parent / "images"
BLUE, ORANGE, GREY, PALE = "#2b6cb0", "#c05621", "#4a5568", "#edf2f7"


def soft_variable() -> Figure:
    """One variable of eight bins: outputs of the projector, and the probabilities at three temperatures."""
    logits = torch.tensor([[0.2, -0.9, 0.6, 2.1, 1.3, -0.4, -1.2, 0.1]])
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.2), layout="constrained")
    bins = np.arange(1, 9)
    axes[0].bar(bins, logits[0], color=GREY)
    axes[0].axhline(0, color="black", linewidth=0.6)
    axes[0].set(title="outputs z of one variable", xlabel="bin", xticks=bins)
    for axis, temperature in zip(axes[1:], (2.0, 1.0, 0.25), strict=True):
        p = F.soft_discretize(logits, num_bins=8, temperature=temperature)[0, 0]
        axis.bar(bins, p, color=BLUE)
        axis.set(title=f"probabilities, t = {temperature:g}", xlabel="bin", xticks=bins, ylim=(0, 1))
    return figure


def joint_states() -> Figure:
    """Joint distributions of four variables of four bins in four states, with the terms of the loss."""
    generator = torch.Generator().manual_seed(0)
    independent = torch.randint(4, (4096, 4), generator=generator)
    other = torch.randint(4, (4096, 4), generator=generator)
    states = {
        "collapse: one bin for all": (torch.zeros_like(independent),) * 2,
        "variables repeat each other": (independent[:, :1].expand(-1, 4),) * 2,
        "views disagree": (independent, other),
        "what the loss wants": (independent, independent),
    }
    figure, axes = plt.subplots(1, 4, figsize=(10, 3.3), layout="constrained")
    for axis, (title, codes) in zip(axes, states.items(), strict=True):
        z_a, z_b = (30 * nn.functional.one_hot(code, 4).flatten(1).float() for code in codes)
        p_a, p_b = (F.soft_discretize(z, num_bins=4).flatten(1) for z in (z_a, z_b))
        terms = F.imsvd_loss([z_a, z_b], num_bins=4)
        picture = axis.imshow(p_a.T @ p_b / len(p_a), cmap="magma_r", norm=mpl.colors.LogNorm(0.01, 1, clip=True))
        for edge in (3.5, 7.5, 11.5):
            axis.axhline(edge, color="white", linewidth=2)
            axis.axvline(edge, color="white", linewidth=2)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=10.5)
        shown = ("diagonal", "off_diagonal", "invariance", "loss")
        axis.set_xlabel("\n".join(f"{name} {round(float(getattr(terms, name)), 2) + 0.0:.2f}" for name in shown))
    axes[0].set_ylabel("view a: 4 variables x 4 bins")
    figure.colorbar(picture, ax=axes, shrink=0.6, label="probability")
    return figure


def kernels() -> Figure:
    """The kernels over the distance, and how well random features estimate one of them."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
    distance = torch.linspace(0, 2, 200)
    named = {"imq": InverseMultiquadricKernel(), "gaussian": GaussianKernel(), "laplacian": LaplacianKernel()}
    for (name, kernel), colour in zip(named.items(), (BLUE, ORANGE, GREY), strict=True):
        left.plot(distance, kernel.evaluate(distance.square(), 0.5), color=colour, label=name)
    left.set(title="kernels at scale 0.5", xlabel="distance of two unit vectors", ylim=(0, 1.02))
    left.legend()
    for scale, colour in ((0.25, GREY), (0.5, BLUE), (1.0, ORANGE)):
        middle.plot(distance, named["imq"].evaluate(distance.square(), scale), color=colour, label=f"c = {scale:g}")
    middle.set(title="imq at three scales", xlabel="distance of two unit vectors", ylim=(0, 1.02))
    middle.legend()
    generator = torch.Generator().manual_seed(0)
    z = nn.functional.normalize(torch.randn(128, 64, generator=generator), dim=1)
    exact = named["imq"].gram(z, z, 0.5)
    for features, colour in (("rff", GREY), ("orf", BLUE)):
        errors = []
        for _ in range(20):
            phi = F.sample_random_features(named["imq"], 512, 64, features=features, generator=generator)(z, 0.5)
            errors.append((phi @ phi.T - exact)[torch.triu(torch.ones_like(exact), 1) > 0])
        right.hist(torch.cat(errors).numpy(), 80, density=True, histtype="step", color=colour, label=f'"{features}"')
    right.set(title="error of 512 random features", xlabel="estimate minus exact kernel", yticks=[], xlim=(-0.17, 0.17))
    right.legend()
    return figure


def hsic_states() -> Figure:
    """Gram matrices of the first six of 256 images with two views each, in three states, and the terms of all 256."""
    generator = torch.Generator().manual_seed(0)
    kernel, scale, images, dim = InverseMultiquadricKernel(), 0.5, 256, 32
    unit: Callable[[Tensor], Tensor] = lambda z: nn.functional.normalize(z, dim=-1)  # noqa: E731
    base = torch.randn(1, images, dim, generator=generator)
    noise = torch.randn(2, images, dim, generator=generator)
    states = {
        "collapse: all vectors equal": unit(torch.ones(2, images, dim)),
        "views of an image unrelated": unit(noise),
        "images apart, views together": unit(base + 0.2 * noise),
    }
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.5), layout="constrained")
    for axis, (title, z) in zip(axes, states.items(), strict=True):
        zy, zz = (float(f(z, kernel, scale)) for f in (F.hsic_exact_zy, F.hsic_exact_zz))
        together = z[:, :6].transpose(0, 1).flatten(0, 1)  # both views of an image side by side
        picture = axis.imshow(kernel.gram(together, together, scale), cmap="Blues", vmin=0, vmax=1)
        axis.set(title=title, xticks=np.arange(6) * 2 + 0.5, yticks=np.arange(6) * 2 + 0.5)
        axis.set(xticklabels=range(1, 7), yticklabels=range(1, 7))
        axis.set_xlabel(f"hsic_zy {zy:.2f}   hsic_zz {zz + 0.0:.3f}\nloss {3 * math.sqrt(max(zz, 0)) - zy:.2f}")
    axes[0].set_ylabel("image (two rows each: its views)")
    figure.colorbar(picture, ax=axes, shrink=0.7, label="kernel")
    return figure


def _box(axis: plt.Axes, x: float, y: float, width: float, height: float, text: str, **style: object) -> None:
    face = style.pop("face", PALE)
    axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", fc=face, ec=GREY))
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", **style)


def _canvas(width: float, height: float) -> tuple[Figure, plt.Axes]:
    figure, axis = plt.subplots(figsize=(width, height))
    figure.subplots_adjust(0, 0, 1, 1)
    axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axis.axis("off")
    return figure, axis


def _flow(steps: list[tuple[float, str]], rows: tuple[str, ...], last: str, height: float = 2.2) -> Figure:
    """Boxes from left to right, a row for each view, and what all rows end in."""
    figure, axis = _canvas(sum(width for width, _ in steps) + 0.35 * len(steps) + 2.4, height)
    room = (height - 0.3) / len(rows)
    for index, row in enumerate(rows):
        x, y = 0.1, height - 0.15 - (index + 1) * room + 0.12
        for width, text in steps:
            _box(axis, x, y, width, room - 0.24, text.replace("{view}", row), fontsize=9)
            x += width + 0.35
            axis.annotate(
                "",
                (x, y + (room - 0.24) / 2),
                (x - 0.35, y + (room - 0.24) / 2),
                arrowprops={"arrowstyle": "->", "color": GREY},
            )
    _box(axis, x, 0.27, 2.1, height - 0.54, last, fontsize=9, face="#dbeafe")
    return figure


def imsvd_flow() -> Figure:
    """How IMSVD gets from an image to its loss."""
    return _flow(
        [
            (0.9, "view {view}"),
            (1.15, "backbone"),
            (1.15, "projector"),
            (1.5, "M variables\nof K outputs"),
            (1.5, "softmax: M x K\nprobabilities"),
        ],
        ("a", "b"),
        "joint distribution\nof all pairs of variables\nover the global batch\n\n→ three entropies\n→ loss",
    )


def hsic_flow() -> Figure:
    """How SSL-HSIC gets from an image to its loss."""
    return _flow(
        [
            (0.9, "view {view}"),
            (1.15, "backbone"),
            (1.15, "projector"),
            (1.5, "vectors of\nlength 1"),
            (1.5, "F random\nfeatures"),
        ],
        ("a", "b"),
        "two small statistics\nof the global batch\n\n→ HSIC with the image's\nidentity, HSIC with itself\n→ loss",
    )


def floors() -> Figure:
    """The package's floors: what imports what."""
    figure, axis = _canvas(9.6, 5.4)
    commands = ("demo", "train", "test", "lightly", "embed", "explain", "export", "list", "benchmark")
    rows = [
        ("4", [("the command imsvd-plugins:\n" + "  ".join(commands), 8.6)]),
        ("3", [("openmmlab\nmmpretrain's adapter, and the registry", 4.2), ("lightly\nLightly's adapter", 4.2)]),
        (
            "2",
            [
                ("losses\nsettings, state", 1.7),
                ("explain, export\nwhat was learned; backbones", 2.8),
                ("training, evaluation\nshared by both hosts", 2.1),
                ("plugins\nby entry point", 1.4),
            ],
        ),
        ("1", [("functional\nthe mathematics: pure functions of tensors", 5.6), ("data\nimage files, arrays", 2.8)]),
        ("0", [("distributed\nsums and gathers that gradients pass through exactly", 8.6)]),
    ]
    for level, (number, boxes) in enumerate(rows):
        x, y = 0.75, 5.4 - 0.95 - level * 1.06
        axis.text(0.35, y + 0.4, number, ha="center", va="center", fontsize=15, color=GREY, weight="bold")
        for text, width in boxes:
            hosts = number == "3"
            _box(axis, x, y, width, 0.8, text, fontsize=9.5, face="#fdebd8" if hosts else PALE)
            x += width + 0.2
        if level:
            arrow = {"arrowstyle": "<-", "color": GREY}
            axis.annotate("", (5.05, y + 1.06), (5.05, y + 0.8), arrowprops=arrow)
    return figure


def digits() -> Figure:
    """A minute's training on the digits: what one variable learned, and the joint distribution of three."""
    torch.manual_seed(2)
    images, _ = load_digits("train")
    pixels = torch.from_numpy(images[..., 0]).float().unsqueeze(1) / 255 - 0.5
    num_bins, num_variables = 8, 32
    layers: list[nn.Module] = []
    for fan_in, width, stride in ((1, 32, 2), (32, 64, 2), (64, 128, 1)):
        layers += [nn.Conv2d(fan_in, width, 3, stride, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    head = [nn.Linear(128, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, num_variables * num_bins, bias=False)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)
    criterion = IMSVDLoss(num_bins=num_bins)
    epochs, steps = 40, len(pixels) // 256
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(pixels))[: steps * 256].split(256):
            loss = criterion(*(model(_moved(pixels[rows])) for _ in range(2)))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
    model.eval()
    with torch.no_grad():
        p_a, p_b = (F.soft_discretize(model(_moved(pixels)), num_bins) for _ in range(2))
        plain = F.soft_discretize(model(pixels), num_bins)
    # The variable with the surest bins.
    variable = int(plain.sort(dim=0, descending=True).values[:10].mean(dim=(0, 2)).argmax())
    surest = plain[:, variable].argsort(dim=0, descending=True)[:10]
    figure = plt.figure(figsize=(9.4, 3.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    axes = left.subplots(num_bins, 10)
    for k, row in enumerate(axes):
        for axis, index in zip(row, surest[:, k], strict=True):
            axis.imshow(images[index])
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"bin {k + 1}", rotation=0, ha="right", va="center")
    left.suptitle("one variable: the surest images of each of its bins", fontsize=11)
    shown = [variable, *(m for m in range(num_variables) if m != variable)][:3]
    flat_a, flat_b = (p[:, shown].flatten(1) for p in (p_a, p_b))
    axis = right.subplots()
    picture = axis.imshow((num_bins**2 * flat_a.T @ flat_b / len(flat_a)).log2(), cmap="RdBu_r", vmin=-3, vmax=3)
    for edge in (7.5, 15.5):
        axis.axhline(edge, color="black", linewidth=0.8)
        axis.axvline(edge, color="black", linewidth=0.8)
    middles = [3.5, 11.5, 19.5]
    axis.set(xticks=middles, yticks=middles, xlabel="view b: three variables", ylabel="view a: three variables")
    axis.set(xticklabels=["1", "2", "3"], yticklabels=["1", "2", "3"])
    right.suptitle("how often two bins go together", fontsize=11)
    bar = right.colorbar(picture, ax=axis, shrink=0.8, ticks=[-3, 0, 3])
    bar.ax.set_yticklabels(["seldom", "as by\nchance", "often"])
    return figure


def _moved(pixels: Tensor) -> Tensor:
    """A view of each image: at another place, size and slant."""
    count = len(pixels)
    angle, slant = (torch.rand(2, count) - 0.5) * 0.5
    size = 1 + (torch.rand(count) - 0.5) * 0.4
    place = (torch.rand(2, count) - 0.5) * 0.35
    rows = [
        torch.stack([angle.cos(), slant - angle.sin(), place[0]], dim=1),
        torch.stack([angle.sin(), angle.cos(), place[1]], dim=1),
    ]
    theta = torch.stack(rows, dim=1) * torch.stack([size, size, torch.ones(count)], dim=1).unsqueeze(1)
    grid = nn.functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return nn.functional.grid_sample(pixels + 0.5, grid, align_corners=False) - 0.5


FIGURES: dict[str, Callable[[], Figure]] = {
    drawn.__name__: drawn
    for drawn in (soft_variable, joint_states, kernels, hsic_states, imsvd_flow, hsic_flow, floors, digits)
}

if __name__ == "__main__":
    mpl.use("agg")
    torch.set_num_threads(1)
    for name in sys.argv[1:] or FIGURES:
        drawn = BytesIO()
        FIGURES[name]().savefig(drawn, dpi=120)
        # A palette of 128 colours is a third of the bytes, and looks the same.
        Image.open(drawn).convert("RGB").quantize(128).save(IMAGES / f"{name}.png", optimize=True)
        plt.close("all")
