"""Figures of the small protocol: sweeps, the search, and the terms of IMSVD while it trains.

Each file says in its metadata what it shows, so that a test can tell whether it is out of date.
"""

import hashlib
import json
import math

import matplotlib.figure
import numpy as np
from small_tables import METRICS, by_best_score, sweep_table


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
    figure.savefig(file, dpi=120, metadata={"Description": "\n".join(sweep_table(lines))})


def draw_search(file, summary):
    """Draw the score of this package's methods, and of the others, by the learning rate at the default weight decay."""
    figure = matplotlib.figure.Figure(figsize=(8, 4.6), layout="constrained")
    ours_axes, others_axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for method, trials in by_best_score(summary).items():
        # The first trial has the default weight decay.
        scores = {
            trial["learning_rate"]: 100 * trial["score"]
            for trial in trials
            if trial["score"] is not None and trial["weight_decay"] == trials[0]["weight_decay"]
        }
        axes = ours_axes if method.startswith(("imsvd", "ssl_hsic")) else others_axes
        if scores:
            axes.plot(*zip(*sorted(scores.items()), strict=True), marker="o", markersize=4, label=method)
    for axes, title in ((ours_axes, "IMSVD and SSL-HSIC"), (others_axes, "Lightly's")):
        axes.set(title=title, xscale="log", xlabel="learning rate at batch 256")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3)
    ours_axes.set_ylabel("mean of kNN (20) and linear accuracy (%)")
    figure.savefig(file, dpi=120, metadata={"Description": digest(summary)})


def draw_terms(file, results_by_name, num_bins):
    """Draw the terms of IMSVD by epoch, a line for each seed, with the least value that each can have.

    Args:
        file: The figure's.
        results_by_name: Lists of results with curves, all with the same number of bins.
        num_bins: That number.

    Returns:
        The figure.
    """
    figure = matplotlib.figure.Figure(figsize=(9, 3.2), layout="constrained")
    least = {"diagonal": -math.log(num_bins), "off_diagonal": -2 * math.log(num_bins), "invariance": 0.0}
    for axes, (term, bound) in zip(figure.subplots(1, 3), least.items(), strict=True):
        for index, (name, results) in enumerate(results_by_name.items()):
            for result in results:
                values = result["curves"][f"train_{term}"]
                label = name if result is results[0] else None
                axes.plot(range(1, len(values) + 1), values, f"C{index}", label=label)
        axes.axhline(bound, color="0.4", linestyle="--", label="least possible")
        axes.set(title=term.replace("_", "-"), xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=-0.1)
    figure.axes[0].set_ylabel("nats")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", frameon=False, ncols=3)
    curves = {name: [result["curves"] for result in results] for name, results in results_by_name.items()}
    figure.savefig(file, dpi=120, metadata={"Description": digest(curves)})
    return figure


def digest(content):
    """A checksum of what a figure shows."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
