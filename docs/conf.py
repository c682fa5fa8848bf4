"""Settings of the documentation site; ``docs/README.md`` says how it is built."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import matplotlib as mpl

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))
mpl.use("agg")

project = "imsvd_plugins"
author = "the imsvd_plugins authors"
copyright = author
version = release = installed_version("imsvd_plugins")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "public_names",
    "repository_text",
    "svg_math",
]
exclude_patterns = ["README.md", "build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# Every cross reference of this package's own must resolve. What other packages own is shown without a link: the build
# asks no host for their inventories.
nitpicky = True
_OTHERS = (
    "torch torchvision numpy np PIL matplotlib captum lightly pytorch_lightning mmengine mmpretrain collections "
    "pathlib os typing abc io _io nn Tensor NDArray Image Figure Trainer DataLoader Runner Path Any Sequence Callable"
)
nitpick_ignore_regex = [
    (r"py:.*", rf"({_OTHERS.replace(' ', '|')})(\..*)?"),
    (r"py:class", r"imsvd_plugins\.training\.chunks\.Outputs"),  # a type variable
    (r"py:class", r"imsvd_plugins\.lightly\.data\.folder_search\.Found"),  # what a data module keeps to itself
    (r"py:class", r"imsvd_plugins\.explain\.page\.ImagesByIndex"),  # what `Images` is, for the page's writer
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
autoclass_content = "class"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
# Napoleon calls a class's attributes "Variables", which are something else here.
napoleon_custom_sections = [("Attributes", "params_style")]
python_use_unqualified_type_names = True
add_module_names = False
# One argument a line where a signature is long.
maximum_signature_line_length = 100

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# The tutorial's outputs, made by a real run, lie in tutorials/ beside a checksum of the script: a build runs the
# script again only after the script has changed.
sphinx_gallery_conf = {
    "examples_dirs": ["../lightly_examples/tutorials"],
    "gallery_dirs": ["tutorials"],
    "filename_pattern": "/tutorial_",
    "download_all_examples": False,
    "remove_config_comments": True,
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
}
suppress_warnings = [
    # The gallery's settings are of no consequence for what is cached.
    "config.cache",
]

html_theme = "furo"
html_title = "imsvd_plugins"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
