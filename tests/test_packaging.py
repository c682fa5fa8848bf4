"""What an installed package holds, and that the core needs torch alone."""

import email
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent

# Stands in for an environment with torch alone: every module outside it and the standard library is absent.
TORCH_ALONE = """
import sys

import torch
import imsvd_plugins

ABSENT = {"mmengine", "mmcv", "mmpretrain", "lightly", "pytorch_lightning"}
ABSENT |= {"matplotlib", "sklearn", "rich", "torchvision"}

# As Python has it for a package that is not there: an import fails, and a look for it finds nothing.
sys.modules.update(dict.fromkeys(ABSENT))
"""


def run(code, *args):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args], capture_output=True, text=True, check=False, cwd="/"
    )


def test_import_is_light():
    code = """
import sys, json
before = set(sys.modules)
import imsvd_plugins
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""
    finished = run(code)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == ["imsvd_plugins"]


def test_core_works_with_torch_alone():
    code = (
        TORCH_ALONE
        + """
from imsvd_plugins import functional, plugins
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

z = torch.randn(2, 8, 16, requires_grad=True)
(IMSVDLoss(num_bins=4)(*z) + HSICLoss(num_features=16)(*z)).backward()
assert z.grad.isfinite().all()
assert {"imq", "gaussian"} <= {plugin.name for plugin in plugins.available("kernels")}
assert not ABSENT & {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
"""
    )
    finished = run(code)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    ("what", "extra"),
    [
        ("import imsvd_plugins.lightly", "imsvd_plugins[lightly]"),
        ("import imsvd_plugins.openmmlab", "imsvd_plugins[openmmlab]"),
        ("from imsvd_plugins import plugins; plugins.load('heads', 'openmmlab_imsvd')", "imsvd_plugins[openmmlab]"),
        ("from imsvd_plugins import plugins; plugins.load('methods', 'lightly_imsvd')", "imsvd_plugins[lightly]"),
        ("from imsvd_plugins.cli import main; sys.exit(main(['train', 'x.py']))", "imsvd_plugins[openmmlab]"),
        ("from imsvd_plugins.cli import main; sys.exit(main(['demo']))", "imsvd_plugins[digits]"),
        ("from imsvd_plugins.data.digits import load_digits; load_digits('test')", "imsvd_plugins[digits]"),
    ],
)
def test_an_absent_host_is_named_with_its_extra(what, extra):
    finished = run(TORCH_ALONE + what)
    assert finished.returncode != 0
    assert f"pip install '{extra}'" in finished.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built offline."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_every_config(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = {
        f"imsvd_plugins/.mim/configs/{path.relative_to(ROOT / 'mm_configs')}"
        for path in (ROOT / "mm_configs").rglob("*")
        if path.is_file() and path.suffix in (".py", ".yml", ".md")
    }
    assert shipped
    assert shipped <= names
    assert {
        "imsvd_plugins/.mim/model-index.yml",
        "imsvd_plugins/.mim/tools/train.py",
        "imsvd_plugins/py.typed",
    } <= names
    assert not {name for name in names if name.startswith(("tests/", "lightly_examples/", "mm_configs/"))}


def test_wheel_holds_the_yaml_configs_of_lightly(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("imsvd_plugins/lightly/configs/")}
    folder = ROOT / "lightly_examples" / "configs"
    assert names == {f"imsvd_plugins/lightly/configs/{path.name}" for path in folder.iterdir()}
    assert "imsvd_plugins/lightly/configs/imsvd_images.yaml" in names


def test_wheel_holds_the_templates_of_the_report(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "imsvd_plugins/explain/templates").iterdir()}
    assert {path.rpartition(".")[2] for path in templates} == {"html", "css", "js"}
    assert templates <= names


def names_of(wheel, extra, python):
    """The distributions that an extra of the wheel installs on a version of Python."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields = email.message_from_bytes(archive.read(metadata))
    requirements = map(Requirement, fields.get_all("Requires-Dist"))
    environment = {"extra": extra, "python_version": python}
    return {each.name: each.specifier for each in requirements if each.marker and each.marker.evaluate(environment)}


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_extras_install_one_family_of_openmmlab(wheel, python):
    upstream, forks = {"mmcv-lite", "mmengine", "mmpretrain"}, {"onedl-mmcv", "onedl-mmengine", "onedl-mmpretrain"}
    for extra in ("demo", "test", "all"):
        found = {name for name in names_of(wheel, extra, python) if name.removeprefix("onedl-").startswith("mm")}
        assert found == (upstream if python < "3.13" else forks)
    assert {name for name in names_of(wheel, "onedl", python) if name.removeprefix("onedl-").startswith("mm")} == forks


@pytest.mark.parametrize("extra", ["openmmlab", "lightly", "explain", "digits"])
def test_extras_for_existing_environments_bring_no_mmcv(wheel, extra):
    """They would install it over the mmcv of mmdet's and mmseg's users."""
    assert not {name for name in names_of(wheel, extra, "3.11") if "mmcv" in name}


@pytest.mark.parametrize("extra", ["openmmlab", "demo", "test"])
def test_upstream_mmcv_gets_a_numpy_whose_hue_jitter_works(wheel, extra):
    assert "2.0.0" not in names_of(wheel, extra, "3.12")["numpy"]
    assert "1.26.4" in names_of(wheel, extra, "3.12")["numpy"]
    assert "numpy" not in names_of(wheel, extra, "3.13")


def test_wheel_works_outside_the_checkout(wheel, tmp_path):
    """Installed elsewhere: a config inherits its bases from the wheel, and the entry points are the wheel's."""
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import imsvd_plugins
from imsvd_plugins import plugins
from pathlib import Path
folder = Path(imsvd_plugins.__file__).parent
assert folder == Path(sys.argv[1]) / "imsvd_plugins", folder
assert plugins.load("kernels", "imq").__name__ == "InverseMultiquadricKernel"
from mmengine.config import Config
configs = [path for path in (folder / ".mim" / "configs").rglob("*.py") if not {"_base_", "dense"} & set(path.parts)]
assert configs
for path in configs:
    assert Config.fromfile(path).model.type
from imsvd_plugins.commands.lightly.shipped_configs import shipped_configs
assert folder in shipped_configs()["imsvd_images"].parents
"""
    finished = subprocess.run(
        [sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
