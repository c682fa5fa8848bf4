"""Pages whose text stands in the repository: a line ``<!-- text of: FILE -->`` becomes what the file holds.

A link in such a text leads to a page of the site where one shows the file, else it becomes the file's name from the
repository's root: the site is read where the repository may not be.
"""

import posixpath
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
_MARK = re.compile(r"^<!-- text of: (\S+) -->$", re.M)
_LINK = re.compile(r"(?<!!)\[((?:[^\]\[]|\[[^\]]*\])*)\]\((?!https?:|#)([^)\s]+)\)")


def pages_of(folder: Path) -> dict[str, str]:
    """Which page shows a file of the repository: ``{"CHANGELOG.md": "/changelog.md"}``."""
    return {
        shown: f"/{page.relative_to(folder).as_posix()}"
        for page in sorted(folder.rglob("*.md"))
        for shown in _MARK.findall(page.read_text())
    }


def text_of(file: str, folder: Path) -> str:
    """The file's text with links that hold on the site."""
    pages = pages_of(folder)

    def link(match: re.Match[str]) -> str:
        words, (path, _, anchor) = match[1], match[2].partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
        if not (ROOT / target).exists():
            raise ValueError(f"{file} links to {path}, which is not there.")
        if target.startswith("docs/") and target.endswith(".md") and target != "docs/README.md":
            return f"[{words}](/{target.removeprefix('docs/')}{'#' if anchor else ''}{anchor})"
        for shown in (target, posixpath.join(target, "README.md")):
            if shown in pages:
                return f"[{words}]({pages[shown]}{'#' if anchor else ''}{anchor})"
        if target.startswith("mm_configs/") and target.endswith(".py"):
            return f"`{posixpath.basename(target)[:-3]}`"  # the name by which the command knows it
        words = words.strip("`")
        named = posixpath.basename(target).startswith(words) or words.rstrip("/") == path.rstrip("/")
        return f"`{target}`" if named else f"{words} (`{target}`)"

    return _LINK.sub(link, (ROOT / file).read_text())


def replace(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the files' texts where the page marks them."""
    for file in _MARK.findall(source[0]):
        for read in (ROOT / file, Path(__file__)):
            app.env.note_dependency(str(read))
    source[0] = _MARK.sub(lambda match: text_of(match[1], Path(app.srcdir)), source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the replacement."""
    app.connect("source-read", replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
