"""The notebooks of lightly_examples, generated from its scripts: ``python tests/tools/notebooks.py [--write]``."""

import sys
from pathlib import Path

import jupytext
import nbformat

EXAMPLES = Path(__file__).parents[2] / "lightly_examples"
NOTEBOOKS = EXAMPLES / "notebooks"
VARIANTS = ("pytorch", "pytorch_lightning", "pytorch_lightning_distributed")
# A notebook cannot start itself anew on each device, as "ddp" does with a script: there Lightning forks.
_IN_A_NOTEBOOK = {'strategy="ddp"': 'strategy="ddp_notebook"'}


def scripts() -> list[Path]:
    """The examples that have a notebook, relative to lightly_examples."""
    return sorted(path.relative_to(EXAMPLES) for variant in VARIANTS for path in (EXAMPLES / variant).glob("*.py"))


def notebook(script: Path, folder: Path = NOTEBOOKS) -> Path:
    """Where the notebook of a script belongs."""
    return folder / script.with_suffix(".ipynb")


def generate(script: Path) -> str:
    """The text of a script's notebook: without outputs, and with a cell that installs what it needs."""
    source = (EXAMPLES / script).read_text()
    for old, new in _IN_A_NOTEBOOK.items():
        source = source.replace(old, new)
    generated = jupytext.reads(source, fmt="py:light")
    (command,) = [line.removeprefix("# ") for line in source.splitlines() if line.startswith("# pip install")]
    generated.cells.insert(1, nbformat.v4.new_code_cell(f"!{command}"))
    for index, cell in enumerate(generated.cells):
        # Jupytext draws them at random.
        cell.id = str(index)
    return jupytext.writes(generated, fmt="ipynb") + "\n"


def out_of_step(folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks that are not what their script gives, are missing, or belong to none."""
    expected = {notebook(script, folder): generate(script) for script in scripts()}
    found = {path: path.read_text() for path in folder.rglob("*.ipynb")}
    return sorted(path for path in expected | found if expected.get(path) != found.get(path))


if __name__ == "__main__":
    wrong = out_of_step()
    if "--write" in sys.argv[1:]:
        for path in wrong:
            path.unlink(missing_ok=True)
        for script in scripts():
            notebook(script).parent.mkdir(parents=True, exist_ok=True)
            notebook(script).write_text(generate(script))
    elif wrong:
        names = ", ".join(str(path.relative_to(NOTEBOOKS)) for path in wrong)
        sys.exit(f"out of step with their scripts: {names}. Run: python tests/tools/notebooks.py --write")
