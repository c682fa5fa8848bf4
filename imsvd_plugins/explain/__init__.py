"""What was learned, from a checkpoint and images: features, codes and figures."""

try:
    import matplotlib as _matplotlib  # noqa: F401
    import PIL as _PIL  # noqa: F401
    import rich as _rich  # noqa: F401
    import torchvision as _torchvision  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("matplotlib", "PIL", "rich", "torchvision"):
        raise
    raise ImportError(
        f"imsvd_plugins.explain needs {error.name}, which is not installed: pip install 'imsvd_plugins[explain]'"
    ) from error

from imsvd_plugins.explain.joint_distribution import draw_joint_distribution

__all__ = ["draw_joint_distribution"]
