"""Several distributions provide each of OpenMMLab's modules: finds missing modules and conflicting distributions."""

import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

# All distributions of one module install into the same folder, so an environment may have only one of them.
DISTRIBUTIONS = {
    "mmcv": ("mmcv", "mmcv-lite", "mmcv-full", "onedl-mmcv"),
    "mmengine": ("mmengine", "mmengine-lite", "onedl-mmengine"),
    "mmpretrain": ("mmpretrain", "onedl-mmpretrain"),
}


def missing(module: str) -> str:
    """The error message for a missing module: what to install, including mmcv if it is missing too.

    Args:
        module: A key of :data:`DISTRIBUTIONS`.
    """
    needs = f"imsvd_plugins.openmmlab needs {module}, which is not installed: pip install"
    forks = any(name.startswith("onedl-") for each in DISTRIBUTIONS for name in _installed(each))
    # Upstream's hue jitter needs numpy below 2, which Python 3.13 does not have.
    if forks or sys.version_info >= (3, 13):
        return f"{needs} 'imsvd_plugins[onedl]'"
    if module == "mmcv":
        return f"{needs} 'imsvd_plugins[mmcv-lite]', or mmcv itself if mmdet or mmseg need its operators"
    extras = "openmmlab" if _installed("mmcv") else "openmmlab,mmcv-lite"
    return f"{needs} 'imsvd_plugins[{extras}]'"


def warn_if_overwritten() -> None:
    """Warn if several distributions of one module are installed over each other."""
    for module in DISTRIBUTIONS:
        found = _installed(module)
        if len(found) > 1:
            names = [f"{name} {number}" for name, number in found.items()]
            warnings.warn(
                f"{' and '.join(names)} are installed over each other, and {module} may be a mixture of them: "
                f"pip uninstall {' '.join(found)}, then install the one that you need.",
                stacklevel=3,
            )


def _installed(module: str) -> dict[str, str]:
    found = {}
    for name in DISTRIBUTIONS[module]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
