"""The same search for every method of the small protocol: learning rate and weight decay, on the validation images.

    python small_search.py --data packed.npz --work-dir search
    python small_search.py --work-dir search --show

Each method gets seven trials of 15 epochs with one seed: its default rate times 1, 10 and 0.1; half a decade above and
below the best of these; and at the best rate a tenth of the default weight decay and ten times it. While the best rate
is the lowest or the highest of them, the next half decade comes first. The score is the mean of kNN (k = 20) and linear
accuracy. A trial is pruned if its kNN accuracy after one or two thirds of the epochs is
below the median of its method's other trials. The same command resumes an interrupted search.
"""

import argparse
import functools
import math
from pathlib import Path

import optuna
import pytorch_lightning as pl
from cifar10_benchmark import CIFAR10, open_data
from evaluation import DivergedError, extract_features, knn_accuracy
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from results import write_json
from run import at_least, check_work_dir
from small_protocol import ENTRIES, NUM_CLASSES, Run, make_loaders, quiet, split_indices, train
from small_tables import search_tables

# Each group is searched breadth first.
GROUPS = (
    ("imsvd_k16", "imsvd_k32", "ssl_hsic", "ssl_hsic_no_target", "simclr"),
    ("imsvd_k16_views4", "byol", "moco", "barlowtwins", "vicreg", "visreg", "lejepa", "frossl", "mmcr"),
)
METHODS = tuple(method for group in GROUPS for method in group)
RATE, DECAY = "log10_rate", "log10_weight_decay"  # both relative to the method's default
TRIALS = 7
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def next_parameters(scores):
    """The parameters of a method's next trial, which follow from those before it.

    Args:
        scores: Scores of finished trials by (decades of the rate, decades of the weight decay) from the defaults.

    Returns:
        The next such pair, or None after the last trial.
    """
    for rate in (0.0, 1.0, -1.0):
        if (rate, 0.0) not in scores:
            return rate, 0.0
    best = max((0.0, 1.0, -1.0), key=lambda rate: scores[rate, 0.0])
    for rate in (best + 0.5, best - 0.5):
        if (rate, 0.0) not in scores:
            return rate, 0.0
    rates = sorted(rate for rate, decay in scores if decay == 0.0)
    best = max(rates, key=lambda rate: scores[rate, 0.0])
    if len(scores) == TRIALS:
        return None
    if len(rates) == len(scores) and best in (rates[0], rates[-1]):
        # Better ones may lie beyond.
        return best + math.copysign(0.5, best), 0.0
    for decay in (-1.0, 1.0):
        if (best, decay) not in scores:
            return best, decay
    return None


def score(trial):
    """What orders trials: a pruned one is below all complete ones, and a diverged one below all."""
    if trial.state == TrialState.COMPLETE:
        return trial.value
    return -1 + max(trial.intermediate_values.values(), default=-1.0)


def open_study(storage, method, epochs):
    """The study of a method; trials that an interruption left unfinished count as failed and are repeated."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=epochs // 4)
    study = optuna.create_study(
        storage=storage, study_name=method, direction="maximize", pruner=pruner, load_if_exists=True
    )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def scores_of(study):
    trials = study.get_trials(states=DONE)
    return {(trial.params[RATE], trial.params[DECAY]): score(trial) for trial in trials}


class ReportKNN(pl.Callback):
    """Tells Optuna the kNN accuracy after each third of the epochs but the last."""

    def __init__(self, trial, loaders):
        self.trial, self.loaders = trial, loaders

    def on_train_epoch_end(self, trainer, pl_module):
        epoch, third = trainer.current_epoch + 1, max(1, trainer.max_epochs // 3)
        if epoch % third or epoch >= trainer.max_epochs:
            return
        bank = extract_features(pl_module.backbone, self.loaders.knn)
        queries = extract_features(pl_module.backbone, self.loaders.test)
        self.trial.report(knn_accuracy(bank, queries, NUM_CLASSES, min(20, len(bank[1]))), epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def make_objective(method, loaders, epochs, batch_size):
    """The function of a trial that Optuna maximizes."""
    entry = ENTRIES[method]

    def objective(trial):
        # Wide enough for all that next_parameters can ask for.
        rate = 10 ** trial.suggest_float(RATE, -3.0, 3.0, step=0.5)
        decay = 10 ** trial.suggest_float(DECAY, -1.0, 1.0, step=1.0)
        print(f"{method}: rate x{rate:.3g}, weight decay x{decay:.3g}", flush=True)
        run = Run(
            method,
            learning_rate=rate * entry.learning_rate,
            weight_decay=decay * entry.weight_decay,
            views=entry.views,
            epochs=epochs,
            batch_size=batch_size,
        )
        try:
            result = train(run, loaders, [ReportKNN(trial, loaders)])
        except DivergedError as error:
            trial.set_user_attr("diverged", str(error))
            raise optuna.TrialPruned from error
        # Of a process that has trained other methods before, the memory says nothing.
        del result["cost"]["peak_memory_bytes"]
        trial.set_user_attr("result", result)
        return (result["metrics"]["knn20"] + result["metrics"]["linear"]) / 2

    return objective


def search(storage, methods, make_method_loaders, epochs, batch_size, after_trial):
    """Run all trials that are not finished yet.

    Args:
        storage: Optuna's.
        methods: Names of `ENTRIES`.
        make_method_loaders: From a number of views to loaders of training and validation images.
        epochs: Of a trial.
        batch_size: Of a trial.
        after_trial: Called without arguments after each trial.
    """
    for group in GROUPS:
        for finished in range(TRIALS):
            for method in (method for method in group if method in methods):
                study = open_study(storage, method, epochs)
                scores = scores_of(study)
                if len(scores) > finished:
                    continue
                parameters = next_parameters(scores)
                if not study.get_trials(states=(TrialState.WAITING,)):
                    study.enqueue_trial(dict(zip((RATE, DECAY), parameters, strict=True)))
                loaders = make_method_loaders(ENTRIES[method].views)
                study.optimize(make_objective(method, loaders, epochs, batch_size), n_trials=1)
                after_trial()


def summarize(storage):
    """All trials by method, as JSON's types."""
    summary = {}
    names = {study.study_name for study in optuna.get_all_study_summaries(storage)}
    for method in (method for method in METHODS if method in names):
        study = optuna.load_study(study_name=method, storage=storage)
        entry = ENTRIES[method]
        summary[method] = [
            {
                "rate_times_default": 10 ** trial.params[RATE],
                "learning_rate": 10 ** trial.params[RATE] * entry.learning_rate,
                "weight_decay": 10 ** trial.params[DECAY] * entry.weight_decay,
                "state": "diverged" if "diverged" in trial.user_attrs else trial.state.name.lower(),
                "score": trial.value if trial.state == TrialState.COMPLETE else None,
                "knn20_by_epoch": {str(epoch): value for epoch, value in trial.intermediate_values.items()},
                **trial.user_attrs.get("result", {}),
            }
            for trial in study.get_trials(states=DONE)
        ]
    return summary


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Searches learning rate and weight decay of each method.")
    add = parser.add_argument
    add("--data", type=Path, help=CIFAR10.data_help)
    add("--work-dir", type=Path, required=True, help="folder of the trials (search.journal) and their summary")
    add("--methods", nargs="+", choices=METHODS, default=METHODS, help="default: all")
    add("--epochs", type=at_least(3), default=15, help="of a trial; default: %(default)s")
    add("--batch-size", type=at_least(2), default=256, help="default: %(default)s")
    add("--show", action="store_true", help="print the trials so far and train nothing")
    options = parser.parse_args(arguments)
    journal = options.work_dir / "search.journal"
    if options.show:
        if not journal.exists():
            parser.error(f"--work-dir {options.work_dir} holds no search.journal: no search has begun there.")
        summary = summarize(JournalStorage(JournalFileBackend(str(journal))))
        print(*search_tables(summary, TRIALS), sep="\n")
        return
    if options.data is None:
        parser.error("--data is needed to search.")
    settings = {
        "protocol": "small",
        "data": options.data.name,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
    }
    try:
        open_split = open_data(options.data)
        check_work_dir(options.work_dir, settings)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    write_json(options.work_dir / "settings.json", settings)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    quiet()

    @functools.cache
    def make_method_loaders(views):
        return make_loaders(open_split, "validation", split_indices(), options.batch_size, views)

    def after_trial():
        summary = summarize(storage)
        write_json(options.work_dir / "search.json", summary)
        print(*search_tables(summary, TRIALS), sep="\n", flush=True)

    search(storage, options.methods, make_method_loaders, options.epochs, options.batch_size, after_trial)


if __name__ == "__main__":
    main()
