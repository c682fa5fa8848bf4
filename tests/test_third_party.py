"""The guide's third-party package: its very text, installed as a distribution of its own and used in both hosts."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from imsvd_plugins import functional as F
from imsvd_plugins import plugins
from imsvd_plugins.functional.kernels import InverseMultiquadricKernel, Kernel

GUIDE = Path(__file__).parents[1] / "docs" / "how-to" / "plug-in.md"
FILES = ("pyproject.toml", "rational_quadratic.py")

CORE = """
import torch

torch.manual_seed(0)
torch.set_num_threads(1)

def train(step, parameters):
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(2):
        before = [parameter.detach().clone() for parameter in parameters]
        loss = step()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
        assert all(not torch.equal(old, new) for old, new in zip(before, parameters, strict=True))
"""

MMPRETRAIN = """
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

torch.manual_seed(0)
torch.set_num_threads(1)

def train(head):
    model = MODELS.build(dict(
        type="BarlowTwins",
        data_preprocessor=dict(type="SelfSupDataPreprocessor", mean=[127.5], std=[127.5]),
        backbone=dict(type="LeNet5"),
        neck=dict(type="NonLinearNeck", in_channels=120, hid_channels=32, out_channels=16, with_avg_pool=False),
        head=head,
    ))
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    for _ in range(2):
        before = model.backbone.features[0].weight.detach().clone()
        views = [torch.randint(0, 256, (8, 1, 32, 32), dtype=torch.uint8) for _ in range(2)]
        log = model.train_step(dict(inputs=views, data_samples=[DataSample()] * 8), wrapper)
        assert log["loss"].isfinite()
        assert not torch.equal(before, model.backbone.features[0].weight)
    return model.head
"""

ACME = """
from torch import nn

class AcmeLoss(nn.Module):
    def forward(self, z_a, z_b):
        return (z_a - z_b).square().mean()

class AcmeHead(nn.Module):
    def __init__(self, loss):
        super().__init__()
        from mmpretrain.registry import MODELS
        self.loss_module = MODELS.build(loss)

    def loss(self, z_a, z_b):
        return self.loss_module(z_a, z_b)
"""


def named_blocks() -> dict[str, str]:
    """The guide's code blocks under a line that holds nothing but a file's name in backquotes."""
    return dict(re.findall(r"^`([^`\n]+)`\n+```\w+\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL))


def usage() -> str:
    """The guide's code block that shows the kernel's use."""
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if 'HSICLoss(kernel="rational_quadratic")' in block)
    return str(block)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip installed the guide's package, offline."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in FILES:
        (source / name).write_text(named_blocks()[name])
    options = ["--no-index", "--no-build-isolation", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, "--target", str(target), str(source)]
    subprocess.run(command, check=True, timeout=120)
    return target


@pytest.fixture
def kernel(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.syspath_prepend(site)
    plugins.refresh()
    yield plugins.create("kernels", "rational_quadratic")
    monkeypatch.undo()
    plugins.refresh()


def run(sites: list[Path], *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sites))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_package_is_as_short_as_promised() -> None:
    lines = [line for name in FILES for line in named_blocks()[name].splitlines()]
    assert len(lines) <= 35


def test_it_is_listed_and_loads(site: Path) -> None:
    listed = json.loads(run([site], "-m", "imsvd_plugins.cli", "list", "kernels", "--check", "--json"))
    assert [plugin for plugin in listed if plugin["name"] == "rational_quadratic"] == [
        {
            "kind": "kernels",
            "name": "rational_quadratic",
            "value": "rational_quadratic:RationalQuadraticKernel",
            "distribution": "rational-quadratic 1.0",
            "rivals": [],
            "status": "ok",
        }
    ]


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_its_random_features_estimate_it(kernel: Kernel, alpha: float, scale: float) -> None:
    kernel.alpha = alpha  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 16, generator=generator, dtype=torch.float64) / 4
    features = F.sample_random_features(kernel, 100_000, 16, generator=generator, dtype=torch.float64)
    z = features(x, scale)
    # Each estimate is a mean of 100,000 numbers of standard deviation 1 at most: these are five deviations.
    torch.testing.assert_close(z @ z.T, kernel.gram(x, x, scale), rtol=0, atol=5 / 100_000**0.5)


def test_with_half_an_alpha_it_is_the_inverse_multiquadric(kernel: Kernel) -> None:
    kernel.alpha = 0.5  # type: ignore[attr-defined]
    x = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(kernel.gram(*x, 2.0), InverseMultiquadricKernel().gram(*x, 2.0))


def test_two_steps_in_the_core(site: Path) -> None:
    steps = """
network = torch.nn.Linear(8, 16)
train(lambda: criterion(*network(torch.randn(2, 32, 8))), list(network.parameters()))
assert type(criterion.kernel).__module__ == "rational_quadratic"
assert criterion.scale != 1
"""
    run([site], "-c", CORE + usage() + steps)


def test_two_steps_in_lightly(site: Path) -> None:
    steps = """
from lightly.models.modules.heads import ProjectionHead

head = ProjectionHead([(48, 32, torch.nn.BatchNorm1d(32), torch.nn.ReLU()), (32, 16, None, None)])
model = torch.nn.Sequential(torch.nn.Flatten(), head)
train(lambda: criterion(model(torch.randn(16, 3, 4, 4)), model(torch.randn(16, 3, 4, 4))), list(model.parameters()))
"""
    run([site], "-c", CORE + usage() + steps)


def test_two_steps_in_mmpretrain(site: Path, write_distribution: Callable[..., Path]) -> None:
    entry_points = {"losses": {"acme": "acme:AcmeLoss"}, "heads": {"acme_head": "acme:AcmeHead"}}
    acme = write_distribution("acme-ssl", entry_points, acme=ACME)
    steps = """
assert type(train(head).loss_module.kernel).__module__ == "rational_quadratic"

# Classes of other distributions by their own names.
head = train(dict(type="imsvd_plugins.AcmeHead", loss=dict(type="imsvd_plugins.AcmeLoss")))
assert type(head).__module__ == type(head.loss_module).__module__ == "acme"

kernel = dict(type="imsvd_plugins.RationalQuadraticKernel")
head = train(dict(type="imsvd_plugins.HSICHead", loss=dict(type="imsvd_plugins.HSICLoss", kernel=kernel)))
assert type(head.loss_module.kernel).__module__ == "rational_quadratic"
"""
    run([site, acme], "-c", MMPRETRAIN + usage() + steps)
