"""Explaining what a network learned: features, arrays, figures and reports, from images or from probabilities."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from imsvd_plugins.extras import missing_extra

if TYPE_CHECKING:
    from imsvd_plugins.explain.attribution import attribute
    from imsvd_plugins.explain.explaining import explain
    from imsvd_plugins.explain.figures import draw_overview, draw_representation, write_figures
    from imsvd_plugins.explain.joint_distribution import draw_joint_distribution
    from imsvd_plugins.explain.page import write_page
    from imsvd_plugins.explain.report import Attribution, Examples, Report, Representation, Variables
    from imsvd_plugins.explain.report_folder import write_report

# The extra's packages. If one is absent, the same error says so at once. They are looked up, not imported: captum,
# scikit-learn and matplotlib take seconds to import, and `embed` uses none of them.
for _package in ("captum", "jinja2", "matplotlib", "PIL", "rich", "scipy", "sklearn", "torchvision"):
    if find_spec(_package) is None:
        raise missing_extra("imsvd_plugins.explain", _package, "explain")

_MODULES = {
    "Attribution": "report",
    "Examples": "report",
    "Report": "report",
    "Representation": "report",
    "Variables": "report",
    "attribute": "attribution",
    "draw_joint_distribution": "joint_distribution",
    "draw_overview": "figures",
    "draw_representation": "figures",
    "explain": "explaining",
    "write_figures": "figures",
    "write_page": "page",
    "write_report": "report_folder",
}

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


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(f"{__name__}.{_MODULES[name]}"), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
