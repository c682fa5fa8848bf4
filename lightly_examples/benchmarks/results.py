"""Results of a benchmark: the table, the file and the figure."""

import json

import matplotlib.figure
import matplotlib.ticker
import numpy as np


def read_json(file):
    return json.loads(file.read_text())


def write_json(file, content):
    """Write a file whole or not at all, so that an interruption leaves no half of one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    part.replace(file)


def print_table(runs):
    """Print Lightly's table: means over the seeds, and the largest memory."""
    header = (
        f"| {'Model':<13} | {'Batch Size':>10} | {'Epochs':>6} "
        f"| {'KNN Test Accuracy':>18} | {'Time':>10} | {'Peak GPU Usage':>14} |"
    )
    line = "-" * len(header)
    print(line, header, line, sep="\n")
    for model, results in runs.items():
        accuracy = np.array([result["max_accuracy"] for result in results])
        minutes = np.mean([result["runtime"] for result in results]) / 60
        gbyte = max(result["gpu_memory_usage"] for result in results) / 1024**3
        spread = f"{accuracy.mean():.3f} +- {accuracy.std():.3f}" if len(results) > 1 else f"{accuracy.mean():.3f}"
        print(
            f"| {model:<13} | {results[0]['batch_size']:>10} | {results[0]['epochs']:>6} "
            f"| {spread:>18} | {minutes:>6.1f} Min | {gbyte:>8.1f} GByte |"
        )
    print(line, flush=True)


def write_curves(file, runs, title):
    """Draw the kNN accuracy after each epoch, the mean over the seeds, and the range of several."""
    figure = matplotlib.figure.Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for index, (model, results) in enumerate(runs.items()):
        accuracies = 100 * np.array([result["accuracies"] for result in results])
        epochs = np.arange(1, accuracies.shape[1] + 1)
        # A line of one point is not seen.
        marker = "." if len(epochs) < 20 else None
        (curve,) = axes.plot(epochs, accuracies.mean(axis=0), f"C{index}", marker=marker, label=model)
        if len(results) > 1:
            axes.fill_between(
                epochs, accuracies.min(axis=0), accuracies.max(axis=0), color=curve.get_color(), alpha=0.2
            )
    axes.set(title=title, xlabel="Epoch", ylabel="kNN test accuracy (%)")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(file, dpi=150)
