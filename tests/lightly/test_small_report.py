"""The documentation's tables and figures of the small protocol are those of the committed results."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("lightly", minversion="1.6", reason="the newest methods are Lightly 1.6's")


@pytest.fixture
def report(benchmarks):
    import small_report

    return small_report


def test_tables_are_those_of_the_results(report):
    blocks = report.blocks()
    for page in report.PAGES:
        assert report.render(page, blocks) == page.read_text(), f"{page}: run small_report.py"


def test_every_sweep_has_its_table_and_figure(report):
    from small_tables import sweep_table

    text = "".join(page.read_text() for page in report.PAGES)
    sweeps = report.sweeps()
    for name, lines in sweeps.items():
        assert f"<!-- results: {name} -->" in text
        assert f"small/{name}.png" in text
        with Image.open(report.FIGURES / f"{name}.png") as figure:
            assert figure.text["Description"] == "\n".join(sweep_table(lines)), f"{name}.png: run small_report.py"


def test_the_figure_is_that_of_the_search(report):
    from small_figures import digest

    with Image.open(report.FIGURES / "search.png") as figure:
        assert figure.text["Description"] == digest(json.loads(report.SEARCH.read_text())), "run small_report.py"


def test_the_figure_of_the_terms_is_that_of_the_table(report):
    from small_figures import digest

    curves = {name: [result["curves"] for result in results] for name, results in report.imsvd_rows().items()}
    with Image.open(report.FIGURES / "terms.png") as figure:
        assert figure.text["Description"] == digest(curves), "run small_report.py"


def test_the_terms_are_drawn_with_their_bounds(report, tmp_path):
    from small_figures import draw_terms

    terms = {"train_diagonal": [-1.0, -1.5], "train_off_diagonal": [-3.0, -2.0], "train_invariance": [1.0, 0.5]}
    figure = draw_terms(tmp_path / "terms.png", {"one": [{"curves": terms}] * 2, "other": [{"curves": terms}]}, 16)
    for axes, values, bound in zip(figure.axes, terms.values(), (-np.log(16), -2 * np.log(16), 0), strict=True):
        *curves, least = axes.lines
        assert [list(curve.get_ydata()) for curve in curves] == [values] * 3
        assert list(least.get_ydata()) == [bound, bound]


def test_changed_results_change_the_table(report):
    blocks = report.blocks() | {"search": ["other"]}
    (page,) = (page for page in report.PAGES if "<!-- results: search -->" in page.read_text())
    assert "results: search -->\n\nother\n\n<!-- end" in report.render(page, blocks)


def test_a_page_that_asks_for_unknown_results_says_so(report, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- results: absent -->\n<!-- end of results -->\n")
    with pytest.raises(ValueError, match=r"page\.md has no results named 'absent'; there are search, "):
        report.render(page, report.blocks())
