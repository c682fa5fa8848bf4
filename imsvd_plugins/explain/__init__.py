"""What a network learned: features, arrays, figures and reports, from images, or from probabilities alone."""

try:
    # The extra's distributions, so that the absence of any is said in one way.
    import captum as _captum  # noqa: F401
    import jinja2 as _jinja2  # noqa: F401
    import matplotlib as _matplotlib  # noqa: F401
    import PIL as _PIL  # noqa: F401
    import rich as _rich  # noqa: F401
    import scipy as _scipy  # noqa: F401
    import sklearn as _sklearn  # noqa: F401
    import torchvision as _torchvision  # noqa: F401
except ModuleNotFoundError as error:
    absent = (error.name or "").partition(".")[0]  # captum imports parts of others
    if absent not in ("captum", "jinja2", "matplotlib", "PIL", "rich", "scipy", "sklearn", "torchvision"):
        raise
    raise ImportError(
        f"imsvd_plugins.explain needs {absent}, which is not installed: pip install 'imsvd_plugins[explain]'"
    ) from error

from imsvd_plugins.explain.attribution import attribute
from imsvd_plugins.explain.explaining import explain
from imsvd_plugins.explain.figures import draw_overview, draw_representation, write_figures
from imsvd_plugins.explain.joint_distribution import draw_joint_distribution
from imsvd_plugins.explain.page import write_page
from imsvd_plugins.explain.report import Attribution, Examples, Report, Representation, Variables
from imsvd_plugins.explain.report_folder import write_report

__all__ = [
    "Attribution",
    "Examples",
    "Report",
    "Representation",
    "Variables",
    "attribute",
    "draw_joint_distribution",
    "draw_overview",
    "draw_representation",
    "explain",
    "write_figures",
    "write_page",
    "write_report",
]
