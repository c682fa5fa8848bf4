"""The pages for people: the README and the sources of the documentation, with the examples and commands in them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if "build" not in page.parts)]
# A file's code stands under a line that holds nothing but its name.
_EXAMPLE = re.compile(r"^`([\w./-]+)`\n\n```\w+\n(.*?)```$", re.M | re.S)
# Indented, as in the README, or in a block of its own, as on the site.
_COMMAND = re.compile(r"^(?:    )?imsvd-plugins ((?:.*\\\n)*.*)$", re.M)


def examples():
    """``{name: code}``. An example on two pages is the same on both."""
    found = {}
    for page in PAGES:
        for name, code in _EXAMPLE.findall(page.read_text()):
            assert found.setdefault(name, code) == code, f"{name} is another on {page.name}"
    return found


def commands():
    """What follows ``imsvd-plugins`` in each printed command, as arguments."""
    printed = [line.replace("\\\n", " ") for page in PAGES for line in _COMMAND.findall(page.read_text())]
    return [shlex.split(line, comments=True) for line in printed]


def command(*start):
    """The printed command that begins with these words."""
    (found,) = {tuple(words) for words in commands() if words[: len(start)] == list(start)}
    return list(found)
