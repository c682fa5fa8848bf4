"""Tables of the small protocol: finished runs, and the search."""

import numpy as np
from results import read_json
from small_protocol import Run, row_name

METRICS = {"knn20": "kNN (20)", "knn200": "kNN (200)", "linear": "Linear", "linear_1pct": "1 % labels"}


def read_results(work_dir):
    """The results of a folder by row and seed."""
    rows = {}
    for file in sorted(work_dir.glob("*/seed*.json")):
        result = read_json(file)
        run = Run(**result["run"])
        rows.setdefault(row_name(run), {})[run.seed] = result
    return rows


def table(header, rows):
    """Lines of a Markdown table that reads well in a terminal too: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = []
    for name, *values in (header, rule, *rows):
        padded = (value.rjust(width) for value, width in zip(values, widths[1:], strict=True))
        lines.append(f"| {' | '.join([name.ljust(widths[0]), *padded])} |")
    return lines


def best_first(rows):
    """Rows of results by seed, in the order of their mean score; diverged ones last."""

    def score(results):
        return np.mean(
            [
                (result["metrics"]["knn20"] + result["metrics"]["linear"]) / 2 if "metrics" in result else -1.0
                for result in results.values()
            ]
        )

    return dict(sorted(rows.items(), key=lambda item: score(item[1]), reverse=True))


def accuracy_table(results_by_name, metrics=tuple(METRICS), memory=True):
    """Lines of the table of several runs, mean and standard deviation over their seeds.

    Args:
        results_by_name: Lists of results.
        metrics: Keys of `METRICS`.
        memory: Whether to give the largest memory.
    """
    header = ["", "Seeds", *(METRICS[metric] for metric in metrics), "s / step"] + ["GByte"] * memory
    rows = []
    for name, every in results_by_name.items():
        results = [result for result in every if "metrics" in result]
        if len(results) < len(every):
            missing = [f"{len(every) - len(results)} diverged", *[""] * (len(header) - 3)]
            rows.append([name, str(len(every)), *missing])
            continue
        cells = [spread([result["metrics"][metric] for result in results]) for metric in metrics]
        cells.append(f"{np.mean([result['cost']['cpu_seconds_per_step'] for result in results]):.2f}")
        if memory:
            cells.append(f"{max(result['cost']['peak_memory_bytes'] for result in results) / 1024**3:.1f}")
        rows.append([name, str(len(results)), *cells])
    return table(header, rows)


def print_table(work_dir):
    """Print mean and standard deviation over the seeds, and the differences from SimCLR, paired by seed."""
    rows = best_first(read_results(work_dir))
    print(*accuracy_table({row: list(every.values()) for row, every in rows.items()}), sep="\n")
    print(*difference_lines(rows, "simclr"), sep="\n", flush=True)


def difference_lines(rows, reference):
    """How much better each row is than a reference row with the same seeds, a line each."""
    others = rows.get(reference, {})
    return [
        f"{row} minus {reference}, paired by seed: {', '.join(differences)}"
        for row, results in rows.items()
        if row != reference and (differences := paired_differences(results, others))
    ]


def paired_differences(results, others):
    """The differences of each metric between results of the same seeds; nothing if they share none."""
    seeds = [seed for seed in results if seed in others and "metrics" in results[seed] and "metrics" in others[seed]]
    if not seeds:
        return []
    cells = []
    for metric, name in METRICS.items():
        pairs = [(results[seed]["metrics"][metric], others[seed]["metrics"][metric]) for seed in seeds]
        cells.append(f"{name} {spread([ours - theirs for ours, theirs in pairs], '+')}")
    return cells


def sweep_table(lines):
    """Lines of the table of a sweep, from its results by line and label."""
    names = {
        ", ".join(filter(None, (line, label))): results for line, of in lines.items() for label, results in of.items()
    }
    return accuracy_table(names, memory=False)


def spread(values, sign=""):
    """Mean, and of several values the standard deviation too."""
    mean = f"{np.mean(values):{sign}.3f}"
    return f"{mean} +- {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


def best_trial(trials):
    """The complete trial of the highest score, or None."""
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return max(complete, key=lambda trial: trial["score"], default=None)


def by_best_score(summary):
    """The search's methods, the best first, and last those without a complete trial."""

    def best_score(item):
        best = best_trial(item[1])
        return -1.0 if best is None else best["score"]

    return dict(sorted(summary.items(), key=best_score, reverse=True))


def search_tables(summary, trials_per_method):
    """Lines of each method's best trial, and of the scores of all trials."""
    summary = by_best_score(summary)
    header = ["", "Trials", "Rate x default", "Weight decay", *METRICS.values(), "s / step"]
    rows, scores = [], []
    for method, trials in summary.items():
        if (best := best_trial(trials)) is not None:
            count, rate = f"{len(trials)}/{trials_per_method}", f"{best['rate_times_default']:.3g}"
            metrics = [f"{best['metrics'][metric]:.3f}" for metric in METRICS]
            seconds = f"{best['cost']['cpu_seconds_per_step']:.2f}"
            rows.append([method, count, rate, f"{best['weight_decay']:.0e}", *metrics, seconds])
        cells = (
            f"x{trial['rate_times_default']:.3g}, {trial['weight_decay']:.0e}: "
            + (trial["state"] if trial["score"] is None else f"{trial['score']:.3f}")
            for trial in trials
        )
        scores.append(f"- {method}: {'; '.join(cells)}")
    return [*table(header, rows), "", *scores]
