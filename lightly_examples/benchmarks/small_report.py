"""Write the small protocol's results into the documentation: tables between comments, and figures.

    python small_report.py

It reads only what is committed in `results`, so anyone can repeat it. A page says where a table belongs by the lines
`<!-- results: NAME -->` and `<!-- end of results -->`.
"""

import re
from pathlib import Path

from results import read_json
from small_figures import draw_search, draw_sweep, draw_terms
from small_protocol import Run, row_name
from small_search import TRIALS
from small_sweeps import SWEEPS, read_sweep
from small_tables import (
    accuracy_table,
    best_first,
    difference_lines,
    read_results,
    search_tables,
    sweep_table,
)

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[2]
PAGES = tuple(ROOT / page for page in ("README.md", "docs/benchmarks/small.md"))
FIGURES = ROOT / "docs" / "images" / "small"
SEARCH = RESULTS / "small_search" / "search.json"
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def blocks():
    """Lines of Markdown by name, among them one of each sweep."""
    rows = best_first(read_results(RESULTS / "small_benchmark"))
    lists = {row: list(every.values()) for row, every in rows.items()}
    return {
        "search": search_tables(read_json(SEARCH), TRIALS),
        "table": accuracy_table(lists),
        "summary": accuracy_table(lists, metrics=("knn20", "linear"), memory=False),
        "differences": [f"- {line}" for line in difference_lines(rows, "simclr")],
        "runs": [what_ran([result for results in lists.values() for result in results])],
        "tried": tried_table([read_json(file) for file in (RESULTS / "small_tried").glob("*/seed*.json")]),
        **{name: sweep_table(lines) for name, lines in sweeps().items()},
        "sweep_runs": [what_ran([read_json(file) for file in (RESULTS / "small_sweeps").glob("*/seed*.json")])],
    }


def tried_table(results):
    """Lines of a table of single runs with their learning rates, best first."""

    def name(run):
        return f"{row_name(run)}, rate {run.learning_rate:.2g}"

    rows = best_first({name(Run(**result["run"])): {0: result} for result in results})
    return accuracy_table({row: list(every.values()) for row, every in rows.items()}, memory=False)


def imsvd_rows():
    """The final table's results of IMSVD with 16 bins."""
    rows = read_results(RESULTS / "small_benchmark")
    return {row: list(rows[row].values()) for row in ("imsvd_k16", "imsvd_k16_views4")}


def sweeps():
    """The finished results of each sweep of which there are any."""
    every = {name: read_sweep(sweep, RESULTS / "small_sweeps") for name, sweep in SWEEPS.items()}
    return {name: lines for name, lines in every.items() if lines}


def what_ran(results):
    """A sentence on how many runs there were, on what and for how long."""
    hours = sum(result["cost"]["seconds"] for result in results if "cost" in result) / 3600

    def all_of(key):
        return ", ".join(sorted({result["environment"][key] for result in results}))

    return (
        f"{len(results)} runs, {hours:.1f} hours of training on one core each ({all_of('cpu')}; "
        f"torch {all_of('torch')}, Lightly {all_of('lightly')})."
    )


def render(page, blocks):
    """The text of a page with its blocks as the results have them.

    Raises:
        ValueError: If the page names a block that does not exist.
    """

    def block(match):
        begin, name, end = match.groups()
        if name not in blocks:
            raise ValueError(f"{page} has no results named {name!r}; there are {', '.join(blocks)}.")
        return "\n".join([begin, *blocks[name], "", end])

    return BLOCK.sub(block, page.read_text())


def main():
    every = blocks()
    for page in PAGES:
        page.write_text(render(page, every))
    FIGURES.mkdir(exist_ok=True)
    draw_search(FIGURES / "search.png", read_json(SEARCH))
    draw_terms(FIGURES / "terms.png", imsvd_rows(), num_bins=16)
    for name, lines in sweeps().items():
        draw_sweep(FIGURES / f"{name}.png", SWEEPS[name].title, SWEEPS[name].xlabel, lines)


if __name__ == "__main__":
    main()
