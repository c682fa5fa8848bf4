"""Formulas as pictures inside the page: a page needs no script, no font and no host to show them."""

import re
from typing import Any
from xml.etree import ElementTree

import ziamath
from docutils import nodes
from sphinx.application import Sphinx

# Pixels, as large as the text around.
_INLINE_SIZE, _DISPLAY_SIZE = 16.0, 17.0


def svg(latex: str, *, inline: bool) -> str:
    """The formula as an SVG element in the colour of the text, with its source for those who listen."""
    size = _INLINE_SIZE if inline else _DISPLAY_SIZE
    # A word's underscore is written with a backslash in TeX, which ziamath would show.
    source = re.sub(r"\\text\{[^}]*\}", lambda match: match[0].replace(r"\_", "_"), latex)
    picture = ziamath.Latex(source, size=size, inline=inline)
    element = picture.svgxml()
    element.set("style", f"vertical-align: {picture.getyofst():.2f}px")
    element.set("role", "img")
    element.set("aria-label", " ".join(latex.split()))
    text = ElementTree.tostring(element, encoding="unicode")
    return re.sub(r'fill="black"|stroke="black"', lambda match: match[0].replace("black", "currentColor"), text)


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write an inline formula."""
    translator.body.append(f'<span class="math">{svg(node.astext(), inline=True)}</span>')
    raise nodes.SkipNode


def visit_display(translator: Any, node: nodes.math_block) -> None:
    """Write a formula of its own line, or several between empty lines."""
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    for part in re.split(r"\n\s*\n", node.astext().strip()):
        translator.body.append(f"<p>{svg(part, inline=False)}</p>")
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("svg", (visit_inline, None), (visit_display, None))
    app.config.html_math_renderer = "svg"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
