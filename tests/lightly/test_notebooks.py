"""The shipped notebooks: in step with their scripts, and run from top to bottom."""

import re
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")

TESTS = Path(__file__).parents[1]
NOTEBOOKS = runpy.run_path(str(TESTS / "tools" / "notebooks.py"))
METHODS = pytest.mark.parametrize("method", ["imsvd", "ssl_hsic"])
EPOCHS = 2
BETWEEN_CELLS = "\n# ---- next cell ----\n"


def test_in_step_with_the_scripts():
    assert NOTEBOOKS["out_of_step"]() == [], "run: python tests/tools/notebooks.py --write"


def test_what_is_out_of_step_is_found(tmp_path):
    """A changed notebook, a missing one, and one whose script is gone."""
    generate = NOTEBOOKS["generate"]
    scripts = NOTEBOOKS["scripts"]()
    assert len(scripts) == 7
    for script in scripts[1:]:
        path = (tmp_path / script).with_suffix(".ipynb")
        path.parent.mkdir(exist_ok=True)
        path.write_text(generate(script))
    changed = (tmp_path / scripts[1]).with_suffix(".ipynb")
    changed.write_text(changed.read_text().replace("Starting Training", "Starting"))
    orphan = tmp_path / "pytorch" / "other.ipynb"
    orphan.write_text("{}")
    missing = (tmp_path / scripts[0]).with_suffix(".ipynb")
    assert NOTEBOOKS["out_of_step"](tmp_path) == sorted([missing, changed, orphan])


@pytest.fixture
def run_notebook(on_small_data, tmp_path, monkeypatch):
    """Runs a notebook in `tmp_path`, with small data and further replacements; returns what its cells wrote."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("pip")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    # The cell that installs finds everything there, and must not reach for anything else.
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    def run(script, replacements):
        notebook = nbformat.reads(NOTEBOOKS["notebook"](Path(script)).read_text(), as_version=4)
        source = on_small_data(BETWEEN_CELLS.join(cell.source for cell in notebook.cells), replacements)
        for cell, text in zip(notebook.cells, source.split(BETWEEN_CELLS), strict=True):
            cell.source = text
        client = nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
        client.execute()
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        return "".join(output.get("text", "") for output in outputs)

    return run


def check_installation(output):
    assert "Requirement already satisfied: imsvd_plugins[lightly]" in output
    assert "does not provide the extra" not in output


@pytest.mark.slow
@METHODS
def test_pytorch(run_notebook, method):
    output = run_notebook(f"pytorch/{method}.py", {"epochs = 10": f"epochs = {EPOCHS}"})
    check_installation(output)
    assert len(re.findall(r"epoch: \d\d, loss: -?\d", output)) == EPOCHS


@pytest.mark.slow
@METHODS
def test_pytorch_lightning(run_notebook, check_checkpoint, tmp_path, method):
    output = run_notebook(
        f"pytorch_lightning/{method}.py",
        {"max_epochs=10": f"max_epochs={EPOCHS}", 'accelerator="auto"': 'accelerator="cpu"'},
    )
    check_installation(output)
    check_checkpoint(tmp_path, method, EPOCHS)


@pytest.mark.slow
@METHODS
def test_pytorch_lightning_distributed(run_notebook, check_checkpoint, tmp_path, method):
    output = run_notebook(
        f"pytorch_lightning_distributed/{method}.py",
        {
            "max_epochs=10": f"max_epochs={EPOCHS}",
            'devices="auto"': "devices=2",
            'accelerator="auto"': 'accelerator="cpu"',
            # Of the machine that runs the test, where the CPU must do.
            "sync_batchnorm=torch.cuda.is_available()": "sync_batchnorm=False",
        },
    )
    check_installation(output)
    check_checkpoint(tmp_path, method, EPOCHS, ranks=2)
