"""Figures of what was learned, from probabilities."""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise ImportError(
        "imsvd_plugins.explain needs matplotlib, which is not installed: pip install 'imsvd_plugins[explain]'"
    ) from error

from imsvd_plugins.explain.joint_distribution import draw_joint_distribution

__all__ = ["draw_joint_distribution"]
