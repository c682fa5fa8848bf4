"""What is said where OpenMMLab's distributions are missing, or installed over each other."""

import os
import subprocess
import sys

import pytest

IMPORT = """
import sys
{before}
try:
    import imsvd_plugins.openmmlab
except ImportError as error:
    print(error)
"""


def import_with(sites, before=""):
    """Output and warnings of the import in another process, with further folders of installed distributions."""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-W", "default::UserWarning:__main__", "-c", IMPORT.format(before=before)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sites))},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    # The forks say this at their import.
    return finished.stdout.removeprefix("Could not import OneDL\n"), finished.stderr


@pytest.fixture(scope="module")
def own():
    """The distribution of mmcv in this environment."""
    from imsvd_plugins.openmmlab.compatibility.distributions import _installed

    ((name, number),) = _installed("mmcv").items()
    return f"{name} {number}", name


def test_one_distribution_of_each_is_no_matter():
    assert import_with([]) == ("", "")


def test_two_of_one_module_are_named_with_the_cure(write_distribution, own):
    other = "mmcv-full" if own[1] == "mmcv" else "mmcv"
    site = write_distribution(other, {}, version="2.1.0")
    output, warnings = import_with([site])
    assert output == ""
    (line,) = (line for line in warnings.splitlines() if "UserWarning" in line)
    assert f"{other} 2.1.0" in line
    assert f"{own[0]}" in line
    assert "are installed over each other" in line
    assert "pip uninstall mmcv" in line


def test_without_any_mmcv_every_cure_is_named(own):
    output, _ = import_with([], "sys.modules['mmcv'] = None")
    (line,) = output.splitlines()
    fork = own[1] == "onedl-mmcv"
    extra = "onedl" if fork else "mmcv-lite"
    assert f"needs mmcv, which is not installed: pip install 'imsvd_plugins[{extra}]'" in line
    assert ("or mmcv itself" in line) != fork


@pytest.mark.parametrize(
    ("mmcv", "python", "extras"),
    [
        ("mmcv", (3, 12), "openmmlab"),
        (None, (3, 12), "openmmlab,mmcv-lite"),
        ("onedl-mmcv", (3, 12), "onedl"),
        (None, (3, 13), "onedl"),
    ],
    ids=["mmcv is there", "no mmcv", "a fork is there", "a Python without numpy 1"],
)
def test_what_installs_mmpretrain_depends_on_mmcv(monkeypatch, mmcv, python, extras):
    from imsvd_plugins.openmmlab.compatibility import distributions

    def version(name):
        if name == mmcv:
            return "2.1.0"
        raise distributions.PackageNotFoundError(name)

    monkeypatch.setattr(distributions, "version", version)
    monkeypatch.setattr(sys, "version_info", python)
    assert distributions.missing("mmpretrain").endswith(f"pip install 'imsvd_plugins[{extras}]'")
