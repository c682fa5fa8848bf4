"""Tables of the small protocol: finished runs, and the search."""

import matplotlib.figure
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


def print_table(work_dir, reference="simclr"):
    """Print mean and standard deviation over the seeds, and the differences from a reference, paired by seed."""
    rows = read_results(work_dir)
    header = f"| {'Method':<24} | {'Seeds':>5} | " + " | ".join(f"{name:>14}" for name in METRICS.values())
    header += f" | {'s / step':>8} | {'GByte':>5} |"
    line = "-" * len(header)
    print(line, header, line, sep="\n")
    for row, every in rows.items():
        results = [result for result in every.values() if "metrics" in result]
        if len(results) < len(every):
            print(f"| {row:<24} | {len(every):>5} | diverged with {len(every) - len(results)} of the seeds")
            continue
        cells = [f"{spread([result['metrics'][metric] for result in results]):>14}" for metric in METRICS]
        seconds = np.mean([result["cost"]["cpu_seconds_per_step"] for result in results])
        memory = max(result["cost"]["peak_memory_bytes"] for result in results) / 1024**3
        print(f"| {row:<24} | {len(results):>5} | {' | '.join(cells)} | {seconds:>8.2f} | {memory:>5.1f} |")
    print(line)
    for row in rows:
        if row != reference and reference in rows:
            print_differences(row, rows[row], reference, rows[reference])
    print(end="", flush=True)


def print_differences(row, results, reference, others):
    """Print how much better a row is than a reference with the same seeds."""
    seeds = [seed for seed in results if seed in others and "metrics" in results[seed] and "metrics" in others[seed]]
    if not seeds:
        return
    cells = []
    for metric, name in METRICS.items():
        pairs = [(results[seed]["metrics"][metric], others[seed]["metrics"][metric]) for seed in seeds]
        cells.append(f"{name} {spread([ours - theirs for ours, theirs in pairs], '+')}")
    print(f"{row} minus {reference}, paired by seed: {', '.join(cells)}")


def print_sweep(title, lines):
    """Print a sweep: results by line and label, mean and standard deviation over the seeds."""
    header = f"| {'':<24} | {'Seeds':>5} | " + " | ".join(f"{name:>14}" for name in METRICS.values())
    header += f" | {'s / step':>8} |"
    print(title, header, "-" * len(header), sep="\n")
    for line, results_of in lines.items():
        for label, every in results_of.items():
            results = [result for result in every if "metrics" in result]
            name = ", ".join(filter(None, (line, label)))
            if len(results) < len(every):
                print(f"| {name:<24} | {len(every):>5} | diverged with {len(every) - len(results)} of the seeds")
                continue
            cells = [f"{spread([result['metrics'][metric] for result in results]):>14}" for metric in METRICS]
            seconds = np.mean([result["cost"]["cpu_seconds_per_step"] for result in results])
            print(f"| {name:<24} | {len(results):>5} | {' | '.join(cells)} | {seconds:>8.2f} |")
    print(flush=True)


def draw_sweep(file, title, xlabel, lines):
    """Draw a sweep: kNN and linear accuracy of every seed, and a line through the means."""
    labels = list(dict.fromkeys(label for results_of in lines.values() for label in results_of))
    figure = matplotlib.figure.Figure(figsize=(8, 3.4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2, sharex=True), ("knn20", "linear"), strict=True):
        for index, (line, results_of) in enumerate(lines.items()):
            # A diverged run has no metrics.
            values = {
                labels.index(label): [100 * result["metrics"][metric] for result in results if "metrics" in result]
                for label, results in results_of.items()
            }
            values = {place: of_seeds for place, of_seeds in values.items() if of_seeds}
            means = [np.mean(of_seeds) for of_seeds in values.values()]
            axes.plot(values.keys(), means, f"C{index}", marker="o", markersize=4, label=line or None)
            for place, of_seeds in values.items():
                axes.scatter([place] * len(of_seeds), of_seeds, s=12, color=f"C{index}", alpha=0.5)
        axes.set(title=METRICS[metric], xlabel=xlabel, ylabel="validation accuracy (%)")
        axes.set_xticks(range(len(labels)), labels)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    if any(lines):
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.suptitle(title)
    figure.savefig(file, dpi=150)


def spread(values, sign=""):
    """Mean, and of several values the standard deviation too."""
    mean = f"{np.mean(values):{sign}.3f}"
    return f"{mean} +- {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


def best_trial(trials):
    """The complete trial of the highest score, or None."""
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return max(complete, key=lambda trial: trial["score"], default=None)


def print_search(summary, trials_per_method):
    """Print each method's best trial, then the scores of all trials."""
    header = (
        f"| {'Method':<18} | {'Trials':>6} | {'Rate x default':>14} | {'Weight decay':>12} | "
        + " | ".join(f"{name:>10}" for name in METRICS.values())
        + f" | {'s / step':>8} |"
    )
    line = "-" * len(header)
    print(line, header, line, sep="\n")
    for method, trials in summary.items():
        if (best := best_trial(trials)) is None:
            continue
        metrics = " | ".join(f"{best['metrics'][metric]:>10.3f}" for metric in METRICS)
        print(
            f"| {method:<18} | {len(trials):>4}/{trials_per_method} | {best['rate_times_default']:>14.3g} | "
            f"{best['weight_decay']:>12.0e} | {metrics} | {best['cost']['cpu_seconds_per_step']:>8.2f} |"
        )
    print(line)
    for method, trials in summary.items():
        cells = (
            f"x{trial['rate_times_default']:.3g}, {trial['weight_decay']:.0e}: "
            + (trial["state"] if trial["score"] is None else f"{trial['score']:.3f}")
            for trial in trials
        )
        print(f"{method}: {'; '.join(cells)}", flush=True)
