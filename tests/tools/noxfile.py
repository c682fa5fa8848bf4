"""Test runs that need an environment of their own; what passed is in tests/README.md.

    nox -f tests/tools/noxfile.py --list
    nox -f tests/tools/noxfile.py --session "core(python='3.11', torch='2.6.0')"

With uv installed, which shares files between environments, a session takes seconds to install instead of minutes. An
environment takes up to 6 GB, and is removed when its tests have passed.
"""

import json
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).parents[2]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
TORCH = ["2.6.0", "2.7.1", "2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0", "2.14.1"]
LIGHTLY = [("1.5.25", "2.6.0"), ("1.5.26", "2.6.5")]
CURRENT = "newest"

EXTRAS = nox.project.load_toml(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
# What the tests themselves need, without the hosts.
TOOLS = [requirement for requirement in EXTRAS["test"] if not requirement.startswith("imsvd_plugins")]

TORCH_ALONE = """
import sys
from pathlib import Path

import torch

import imsvd_plugins
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

z = torch.randn(2, 8, 16, requires_grad=True)
(IMSVDLoss(num_bins=4)(*z) + HSICLoss(num_features=16)(*z)).backward()
assert z.grad.isfinite().all()
assert not {"mmengine", "lightly", "matplotlib"} & set(sys.modules)
assert list(Path(imsvd_plugins.__file__).parent.glob(".mim/configs/*/*.py")), "no configs in the wheel"
for host, extras in (("lightly", "lightly"), ("openmmlab", "openmmlab,mmcv-lite")):
    try:
        __import__(f"imsvd_plugins.{host}")
    except ImportError as error:
        assert f"pip install 'imsvd_plugins[{extras}]'" in str(error), error
    else:
        raise AssertionError(f"{host} is not absent")
"""
# What pip takes for an installed distribution.
WRITE_METADATA = """
import sys, sysconfig
from pathlib import Path

name, version = sys.argv[1:]
info = Path(sysconfig.get_path("purelib"), f"{name}-{version}.dist-info")
info.mkdir()
(info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
(info / "RECORD").touch()
"""

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = []


def run_tests(session: nox.Session, *arguments: str) -> None:
    """Print the versions, run pytest in the checkout, and remove the environment if all passed."""
    session.chdir(ROOT)
    freeze = ("uv", "pip", "list") if session.venv_backend == "uv" else ("python", "-m", "pip", "list")
    session.run(*freeze, external=True)
    environment = {"CUDA_VISIBLE_DEVICES": ""}
    session.run("pytest", "-q", "-p", "no:cacheprovider", *(session.posargs or arguments), env=environment)
    shutil.rmtree(session.virtualenv.location)


def pinned(**versions: str) -> list[str]:
    return [f"{name}=={version}" for name, version in versions.items() if version != CURRENT]


@nox.session
@nox.parametrize("python,torch", [("3.11", torch) for torch in TORCH] + [(python, CURRENT) for python in PYTHONS])
def core(session: nox.Session, torch: str) -> None:
    """functional, losses and plugins, which need torch alone."""
    tools = ("pytest>=8.2", "pytest-xdist>=3.8", "hypothesis>=6.100")
    session.install("-e", f"{ROOT}", "numpy", *tools, *pinned(torch=torch))
    names = ("functional", "losses", "plugins.py")
    run_tests(
        session,
        "tests/functional",
        "tests/losses",
        "tests/test_plugins.py",
        *(f"imsvd_plugins/{name}" for name in names),
    )


@nox.session
@nox.parametrize(
    "python,lightly,lightning",
    [("3.11", *pair) for pair in LIGHTLY] + [(python, CURRENT, CURRENT) for python in PYTHONS],
)
def lightly(session: nox.Session, lightly: str, lightning: str) -> None:
    """tests/lightly without OpenMMLab."""
    versions = pinned(**{"lightly": lightly, "pytorch-lightning": lightning})
    session.install("-e", f"{ROOT}[lightly,digits]", *TOOLS, *versions)
    # Older versions of Lightly use what torchvision is giving up.
    warnings = [] if lightly == CURRENT else ["-W", "default"]
    run_tests(session, "tests/lightly", "imsvd_plugins/lightly", *warnings)


@nox.session
@nox.parametrize(
    # mmcv's own releases need numpy below 2, which Python 3.13 does not have.
    "python,family",
    [(python, "upstream") for python in PYTHONS if python != "3.13"] + [(python, "onedl") for python in PYTHONS],
)
def openmmlab(session: nox.Session, family: str) -> None:
    """tests/openmmlab without Lightly, with OpenMMLab's own releases or with the maintained forks."""
    extras = "openmmlab,mmcv-lite,digits" if family == "upstream" else "onedl,digits"
    session.install("-e", f"{ROOT}[{extras}]", *TOOLS)
    run_tests(session, "tests/openmmlab")


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """All tests, with the oldest version of everything that pyproject.toml allows."""
    # pyparsing 3.3 warns of how old versions of matplotlib call it; tests build and install a package with pip.
    session.install("--resolution", "lowest-direct", "-e", f"{ROOT}[test]", "pyparsing>=3.1,<3.3", "pip>=24")
    # The newest versions of what these packages import warn of how they do it.
    run_tests(session, "-W", "default")


@nox.session(python="3.11", venv_backend="virtualenv")
def torch_alone(session: nox.Session) -> None:
    """The wheel in an environment that has torch alone, which the fast tests can only imitate."""
    session.install("torch")
    wheels = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", f"{wheels}", f"{ROOT}")
    session.install("--no-deps", *map(str, wheels.glob("*.whl")))
    session.chdir(wheels)
    session.run("python", "-c", TORCH_ALONE)
    session.run("imsvd-plugins", "list")
    session.run("python", "-m", "imsvd_plugins", "--version")
    shutil.rmtree(session.virtualenv.location)


@nox.session(python="3.11", venv_backend="virtualenv")
@nox.parametrize("extras", ["openmmlab", "openmmlab,lightly,digits"])
def existing_mmcv(session: nox.Session, extras: str) -> None:
    """Installing the OpenMMLab part leaves an mmcv that is there already as it is."""
    session.run("python", "-c", WRITE_METADATA, "mmcv", "2.1.0", silent=True)
    report = Path(session.create_tmp()) / "report.json"
    install = ("python", "-m", "pip", "install", "--quiet", "--dry-run", "--report", f"{report}")
    session.run(*install, f"{ROOT}[{extras}]")
    names = {entry["metadata"]["name"].lower() for entry in json.loads(report.read_text())["install"]}
    session.log(f"Would install {', '.join(sorted(names))}")
    if not {"mmengine", "mmpretrain", "numpy"} <= names or any("mmcv" in name for name in names):
        session.error("mmengine, mmpretrain and numpy must be among them, and no mmcv.")


@nox.session(python=PYTHONS, venv_backend="virtualenv")
def readme(session: nox.Session) -> None:
    """The README's two commands, the demo shortened, in a fresh clone and with pip."""
    clone = Path(session.create_tmp()) / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    session.run("git", "clone", "--quiet", f"{ROOT}", f"{clone}", external=True)
    session.chdir(clone)
    session.install("-e", ".[demo]")
    session.run("python", "-m", "pip", "check")
    session.run("imsvd-plugins", "demo", "--epochs", "2")
    session.run("imsvd-plugins", "demo", "--epochs", "2", "--host", "lightly")
    session.install("-e", ".[test]")
    session.run("python", "-m", "pip", "check")
    session.run("pytest", *session.posargs)
    shutil.rmtree(session.virtualenv.location)
