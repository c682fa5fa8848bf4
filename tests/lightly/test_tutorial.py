"""The tutorial, run as a script from top to bottom."""

import math
import runpy
from pathlib import Path

import pytest
import torch

plt = pytest.importorskip("matplotlib.pyplot")
TUTORIAL = Path(__file__).parents[2] / "lightly_examples" / "tutorials" / "tutorial_imsvd_variables.py"
FIGURES = 5
pytestmark = pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning")


@pytest.fixture
def run_tutorial(tmp_path):
    """Runs the tutorial for so many epochs; returns its variables. Its figures stay open until the test ends."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()

    def run(epochs=None):
        source = TUTORIAL.read_text()
        if epochs is not None:
            assert source.count("epochs = 30") == 1
            source = source.replace("epochs = 30", f"epochs = {epochs}")
        script = tmp_path / TUTORIAL.name
        script.write_text(source)
        return runpy.run_path(str(script), run_name="__main__")

    with plt.ioff():
        plt.switch_backend("agg")
        yield run
    plt.close("all")
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def test_runs_to_the_end(run_tutorial, capsys):
    result = run_tutorial(epochs=1)
    assert len(plt.get_fignums()) == FIGURES
    assert len(result["models"]) == len(result["figures"]) == 4
    table = capsys.readouterr().out
    assert all(name in table for name in ("kNN accuracy", "unused_bins", "mutual_information"))


@pytest.mark.slow
def test_shows_what_its_text_says(run_tutorial):
    result = run_tutorial()
    random, imsvd, no_off_diagonal, invariance_alone = result["figures"].values()
    collapsed = (no_off_diagonal, invariance_alone)
    log_bins, log_classes = math.log(8), math.log(10)

    assert 0.5 < random["kNN accuracy"] < 0.7
    assert imsvd["kNN accuracy"] > 0.85
    assert all(figures["kNN accuracy"] < imsvd["kNN accuracy"] - 0.05 for figures in collapsed)

    # Random weights: full entropy and nothing in common, but hardly a bin that is any image's own.
    assert random["variable_entropy"] > 0.99
    assert random["joint_entropy"] > 0.99
    assert random["mutual_information"] < 0.01
    assert random["unused_bins"] > 0.5
    assert random["uniformity"] > -0.02

    assert imsvd["variable_entropy"] > 0.98
    assert imsvd["least_variable_entropy"] > 0.95
    assert imsvd["unused_bins"] < 0.02
    assert imsvd["uniformity"] < -1
    assert imsvd["mutual_information"] == pytest.approx(0.8, abs=0.2)

    for figures in collapsed:
        assert figures["unused_bins"] > 0.5
        assert figures["variable_entropy"] < 0.6
        assert figures["mutual_information"] < imsvd["mutual_information"]
    assert invariance_alone["least_variable_entropy"] < 0.05
    assert invariance_alone["variable_entropy"] < no_off_diagonal["variable_entropy"]

    # A variable with itself: both views are most often in one bin. With random weights no pair of bins stands out.
    agreement = {}
    for name, (p_a, p_b) in result["probabilities"].items():
        agreement[name] = float((p_a * p_b).sum(dim=2).mean())
    assert agreement["IMSVD"] > 0.7
    assert agreement["random weights"] == pytest.approx(1 / 8, abs=0.01)

    information = result["information"]
    assert information["random weights"].max() < 0.01
    assert information["IMSVD"].mean() == pytest.approx(log_classes / 2, abs=0.25)
    assert information["IMSVD"].max() < log_bins
    assert information["no off_diagonal"].mean() < information["IMSVD"].mean() - 0.2
    assert information["invariance alone"].min() < 0.01

    # Among the surest images of a bin most have one label, or one of two.
    labels = result["dataset"].labels[result["surest"][:14]]
    shares = torch.nn.functional.one_hot(labels, 10).float().mean(dim=0).sort(dim=1, descending=True).values
    assert (shares[:, :2].sum(dim=1) > 0.8).sum() >= 6
