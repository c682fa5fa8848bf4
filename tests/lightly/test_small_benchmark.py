"""The small protocol and its search, on a few small images with the real methods and backbone."""

import hashlib
import json
import logging
import math
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from pytorch_lightning.callbacks import LambdaCallback

pytest.importorskip("lightly", minversion="1.6", reason="the newest methods are Lightly 1.6's")

INDICES = list(range(16)), list(range(16, 48))  # validation and training
BATCH = 16
METHODS = ["random", "imsvd_k16", "imsvd_k32", "imsvd_k16_views4", "ssl_hsic", "ssl_hsic_no_target", "simclr", "byol"]
METHODS += ["moco", "barlowtwins", "vicreg", "visreg", "lejepa", "frossl", "mmcr"]
TRIAL = {"state": "complete", "score": 0.5, "learning_rate": 0.3, "weight_decay": 1e-4}
TUNED = {method: [TRIAL] for method in ("imsvd_k16", "ssl_hsic", "ssl_hsic_no_target")}


@pytest.fixture(autouse=True)
def lightnings_log():
    """The programs silence it for the whole process."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def make_loaders(benchmarks, packed):
    """Loaders of a few images for a number of views."""
    import small_protocol
    from cifar10_benchmark import open_data

    return lambda views=2: small_protocol.make_loaders(open_data(packed), "validation", INDICES, BATCH, views)


@pytest.fixture
def without_test_images(packed):
    """The packed file without its test images."""
    with np.load(packed) as file:
        content = {key: file[key] for key in file.files if not key.startswith("test")}
    np.savez(packed, **content)
    return packed


@pytest.fixture
def benchmark(benchmarks, packed, tmp_path, monkeypatch):
    """Runs the command of the table on a few images and in this process; returns the work folder."""
    import small_benchmark

    monkeypatch.setattr(small_benchmark, "split_indices", lambda: INDICES)
    monkeypatch.setattr(
        small_benchmark, "ProcessPoolExecutor", lambda workers, context, begin: ThreadPoolExecutor(workers)
    )

    def run(*words):
        options = ["--data", packed, "--batch-size", BATCH, "--work-dir", tmp_path / "work", "--epochs", 1, *words]
        small_benchmark.main([str(word) for word in options])
        return tmp_path / "work"

    return run


def test_indices_are_disjoint_and_never_change(benchmarks):
    from small_protocol import split_indices

    validation, training = split_indices()
    assert (len(validation), len(training)) == (5_000, 10_000)
    assert len({*validation, *training}) == 15_000
    assert max(*validation, *training) < 50_000
    checksum = hashlib.sha256(np.array([*validation, *training], dtype="<i8").tobytes()).hexdigest()
    assert checksum == "57349139b89e44a225018f87a735d3e3362e8cffe4742dc1397fe39a81fb82d9"


def test_every_method_is_searched(benchmarks):
    from small_protocol import ENTRIES
    from small_search import METHODS as SEARCHED

    assert list(ENTRIES) == METHODS
    assert sorted(SEARCHED) == sorted(set(METHODS) - {"random"})


@pytest.mark.parametrize("method", METHODS)
def test_two_steps_of_every_method_give_a_finite_result(make_loaders, method):
    from small_protocol import ENTRIES, Run, train

    entry = ENTRIES[method]
    run = Run(method, entry.learning_rate, entry.weight_decay, entry.views, epochs=1, batch_size=BATCH)
    result = json.loads(json.dumps(train(run, make_loaders(entry.views))))
    assert Run(**result["run"]) == run
    assert set(result["metrics"]) == {"knn20", "knn200", "linear", "linear_1pct"}
    assert all(0 <= value <= 1 for value in result["metrics"].values())
    assert all(math.isfinite(value) for value in result["cost"].values())
    assert (result["cost"]["seconds_per_step"] > 0) == entry.trained
    assert result["environment"]["torch"]


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(make_loaders):
    from small_protocol import Run, train

    loaders, losses = make_loaders(), []
    spy = LambdaCallback(on_train_batch_end=lambda trainer, module, step, *rest: losses.append(step["loss"].item()))
    for seed in (0, 0, 1):
        train(Run("simclr", 0.12, 5e-4, epochs=2, batch_size=BATCH, seed=seed), loaders, [spy])
    first, again, other = losses[:4], losses[4:8], losses[8:]
    assert first == again != other


def test_curves_are_means_over_each_epoch_and_show_the_terms_of_imsvd(make_loaders):
    from small_protocol import Run, train

    losses = []
    spy = LambdaCallback(on_train_batch_end=lambda trainer, module, step, *rest: losses.append(step["loss"].item()))
    curves = train(Run("imsvd_k16", 0.1, 5e-4, epochs=2, batch_size=BATCH), make_loaders(), [spy])["curves"]
    loss = curves["train_loss_ssl"]
    assert loss == pytest.approx([np.mean(losses[:2]), np.mean(losses[2:])])
    assert set(curves) == {"train_loss_ssl", "train_diagonal", "train_off_diagonal", "train_invariance"}
    terms = [curves[f"train_{term}"] for term in ("diagonal", "off_diagonal", "invariance")]
    assert np.sum(terms, axis=0) == pytest.approx(loss, rel=1e-5)


def test_learning_rate_warms_up_over_a_tenth_of_the_steps_and_falls_by_cosine(make_loaders):
    from small_protocol import Run, train

    rates = []
    spy = LambdaCallback(
        on_train_batch_start=lambda trainer, *rest: rates.append(trainer.optimizers[0].param_groups[0]["lr"])
    )
    train(Run("simclr", 0.8, 5e-4, epochs=10, batch_size=BATCH), make_loaders(), [spy])
    highest = 0.8 * BATCH / 256
    assert len(rates) == 20
    assert rates[:2] == pytest.approx([highest / 2, highest])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[11] == pytest.approx(highest / 2, rel=0.1)
    assert rates[-1] == pytest.approx(0.001 * highest, rel=1e-3)


def test_averaged_weights_are_what_is_evaluated(make_loaders):
    """With a decay of 1 the average stays at the weights after the first step."""
    from small_protocol import Run, train

    weights, modules = [], []

    def keep(trainer, module, *rest):
        weights.append(module.backbone[0].weight.detach().clone())
        modules.append(module)

    run = Run("simclr", 0.12, 5e-4, epochs=2, batch_size=BATCH, average=1.0)
    train(run, make_loaders(), [LambdaCallback(on_train_batch_end=keep)])
    assert len(weights) == 4
    assert modules[-1].backbone[0].weight.equal(weights[0])
    assert not weights[-1].equal(weights[0])


def test_norms_and_biases_need_not_decay_and_a_target_is_never_trained(make_loaders):
    from small_protocol import Run, train

    groups, names = [], {}

    def look(trainer, module):
        groups.append(trainer.optimizers[0].param_groups)
        names.update({id(parameter): name for name, parameter in module.named_parameters()})

    for decay_norms in (True, False):
        run = Run("byol", 0.12, 5e-4, epochs=1, batch_size=BATCH, decay_norms=decay_norms)
        train(run, make_loaders(), [LambdaCallback(on_train_start=look)])
    (every,), (decayed, rest) = groups
    assert [group["weight_decay"] for group in (every, decayed, rest)] == [5e-4, 5e-4, 0.0]
    assert len(every["params"]) == len(decayed["params"]) + len(rest["params"])
    assert all(parameter.ndim == 1 for parameter in rest["params"])
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert not any("momentum" in names.get(id(parameter), "") for parameter in decayed["params"] + rest["params"])


def test_probe_and_knn_score_what_can_be_told_apart(benchmarks):
    import torch
    from evaluation import few_label_accuracy, knn_accuracy, linear_accuracy

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    centres = torch.tensor([[0.0, 5.0], [5.0, 0.0], [-5.0, -5.0]])
    # The second feature is on another scale, which a probe on standardized features does not mind.
    features = (centres[labels] + torch.randn(300, 2, generator=generator)) * torch.tensor([1.0, 1e-4])
    train, test = (features[:200], labels[:200]), (features[200:], labels[200:])
    assert linear_accuracy(train, test) > 0.98
    assert few_label_accuracy(train, test, 3) > 0.9
    scaled = [(part * torch.tensor([1.0, 1e4]), target) for part, target in (train, test)]
    assert knn_accuracy(*scaled, 3, 20) > 0.98


def test_a_run_that_diverges_says_so(make_loaders):
    from evaluation import DivergedError
    from small_protocol import Run, train

    with pytest.raises(DivergedError, match="The loss is nan"):
        train(Run("byol", 1e30, 5e-4, epochs=3, batch_size=BATCH), make_loaders())


def test_weights_that_grow_without_bound_behind_batch_normalization_have_diverged(make_loaders):
    import torch
    from evaluation import DivergedError, extract_features
    from small_protocol import backbone

    network = backbone(0)
    with torch.no_grad():
        network[0].weight.fill_(1e38)
    with pytest.raises(DivergedError, match="The features are infinite or NaN"):
        extract_features(network, make_loaders().test)


def test_tuning_never_opens_the_test_images(benchmarks, without_test_images, tmp_path, monkeypatch, capsys):
    """The whole search of two methods works with a file that holds no test images."""
    import small_search

    monkeypatch.setattr(small_search, "split_indices", lambda: INDICES)
    options = ["--data", without_test_images, "--work-dir", tmp_path, "--batch-size", BATCH, "--epochs", 3]
    options += ["--methods", "imsvd_k16"]
    small_search.main([str(option) for option in options])
    (trials,) = json.loads((tmp_path / "search.json").read_text()).values()
    assert len(trials) == 7
    complete = [trial for trial in trials if trial["state"] == "complete"]
    for trial in complete:
        assert trial["score"] == pytest.approx((trial["metrics"]["knn20"] + trial["metrics"]["linear"]) / 2)
        assert list(trial["knn20_by_epoch"]) == ["1", "2"]
    capsys.readouterr()
    small_search.main(["--work-dir", str(tmp_path), "--show"])
    output = capsys.readouterr().out
    assert "| imsvd_k16 |    7/7 |" in output
    assert output.count("x") >= 7


def test_test_images_are_opened_for_the_table_alone(benchmarks, packed):
    import small_protocol
    from cifar10_benchmark import open_data

    opened = []

    def open_split(split, transform):
        opened.append(split)
        return open_data(packed)(split, transform)

    validation = small_protocol.make_loaders(open_split, "validation", INDICES, BATCH, 2)
    assert set(opened) == {"train"}
    test = small_protocol.make_loaders(open_split, "test", INDICES, BATCH, 2)
    assert opened.count("test") == 1
    assert [len(loaders.test.images) for loaders in (validation, test)] == [16, 33]
    assert [len(loaders.knn.images) for loaders in (validation, test)] == [32, 32]


@pytest.mark.parametrize("seed", range(20))
def test_a_method_gets_seven_different_trials(benchmarks, seed):
    from small_search import next_parameters

    draw, scores = random.Random(seed), {}
    while (parameters := next_parameters(scores)) is not None:
        assert parameters not in scores
        assert -3 <= parameters[0] <= 3
        scores[parameters] = draw.random()
    assert len(scores) == 7
    rates = [rate for rate, decay in scores if decay == 0]
    assert len(rates) >= 5
    best = max(rates, key=lambda rate: scores[rate, 0])
    assert list(scores)[len(rates) :] == [(best, decay) for decay in (-1, 1)][: 7 - len(rates)]


@pytest.mark.parametrize(
    ("peak", "rates", "decays"),
    [
        (0.1, [0, 1, -1, 0.5, -0.5], [-1, 1]),
        (0.9, [0, 1, -1, 1.5, 0.5], [-1, 1]),
        (-1.6, [0, 1, -1, -0.5, -1.5, -2], [-1]),
        (5.0, [0, 1, -1, 1.5, 0.5, 2, 2.5], []),
    ],
)
def test_rates_close_in_on_the_best_or_follow_it_outwards_before_weight_decay(benchmarks, peak, rates, decays):
    from small_search import next_parameters

    scores = {}
    while (parameters := next_parameters(scores)) is not None:
        scores[parameters] = -abs(parameters[0] - peak)
    assert [rate for rate, decay in scores if decay == 0] == rates
    best = min(rates, key=lambda rate: abs(rate - peak))
    assert list(scores)[len(rates) :] == [(best, decay) for decay in decays]


@pytest.fixture
def fake_search(benchmarks, monkeypatch, tmp_path):
    """A search whose trials cost nothing; returns what trained, as (method, decades of rate and weight decay)."""
    import small_search

    trained = []

    def train(run, loaders, callbacks):
        entry = small_search.ENTRIES[run.method]
        decades = [run.learning_rate / entry.learning_rate, run.weight_decay / entry.weight_decay]
        trained.append((run.method, *(round(math.log10(value), 2) for value in decades)))
        if len(trained) == 4:
            raise KeyboardInterrupt
        if run.learning_rate > 1:
            raise small_search.DivergedError("The loss is nan.")
        metrics = {"knn20": 0.4, "linear": 0.5, "knn200": 0.4, "linear_1pct": 0.2}
        return {"run": asdict(run), "metrics": metrics, "cost": {"peak_memory_bytes": 1, "cpu_seconds_per_step": 0.1}}

    monkeypatch.setattr(small_search, "train", train)
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def search(*methods):
        # A storage of its own each time, as a new process has.
        storage = JournalStorage(JournalFileBackend(str(tmp_path / "search.journal")))
        small_search.search(storage, methods, lambda views: None, 3, BATCH, lambda: None)
        return storage

    search.trained = trained
    return search


def test_an_interrupted_search_goes_on_and_repeats_no_finished_trial(fake_search):
    import small_search

    with pytest.raises(KeyboardInterrupt):
        fake_search("simclr", "imsvd_k32")
    assert fake_search.trained[:4] == [
        ("imsvd_k32", 0, 0),
        ("simclr", 0, 0),
        ("imsvd_k32", 1, 0),
        ("simclr", 1, 0),  # interrupted
    ]
    storage = fake_search("simclr", "imsvd_k32")
    assert fake_search.trained[4] == ("simclr", 1, 0)
    del fake_search.trained[3]
    assert len(fake_search.trained) == len(set(fake_search.trained)) == 14
    summary = small_search.summarize(storage)
    assert {method: len(trials) for method, trials in summary.items()} == {"imsvd_k32": 7, "simclr": 7}
    assert [trial["state"] for trial in summary["simclr"][:2]] == ["complete", "diverged"]
    assert fake_search("simclr", "imsvd_k32")
    assert len(fake_search.trained) == 14


def test_a_trial_that_was_killed_is_repeated(fake_search, tmp_path):
    import small_search

    fake_search.trained.extend([None] * 4)  # no interruption

    journal = JournalStorage(JournalFileBackend(str(tmp_path / "search.journal")))
    study = small_search.open_study(journal, "simclr", 3)
    study.enqueue_trial({"log10_rate": 0.0, "log10_weight_decay": 0.0})
    study.ask()  # and the process ends
    fake_search("simclr")
    assert fake_search.trained[4:].count(("simclr", 0, 0)) == 1
    assert len(fake_search.trained[4:]) == 7


def test_runs_leave_a_file_each_and_a_table_with_paired_differences(benchmark, capsys):
    folder = benchmark("--methods", "simclr", "random", "--seeds", 0, 1, "--evaluate-on", "validation")
    output = capsys.readouterr().out
    files = sorted(str(file.relative_to(folder)) for file in folder.glob("*/*.json"))
    assert files == [f"{method}/seed{seed}.json" for method in ("random", "simclr") for seed in (0, 1)]
    results = {file: json.loads((folder / file).read_text()) for file in files}
    assert all(result["settings"]["evaluate_on"] == "validation" for result in results.values())
    values = [results[f"simclr/seed{seed}.json"]["metrics"]["linear"] for seed in (0, 1)]
    others = [results[f"random/seed{seed}.json"]["metrics"]["linear"] for seed in (0, 1)]
    differences = np.subtract(others, values)
    assert f" {np.mean(values):.3f} +- {np.std(values, ddof=1):.3f} |" in output
    assert f"Linear {differences.mean():+.3f} +- {differences.std(ddof=1):.3f}" in output
    # Nothing is trained again.
    benchmark("--methods", "simclr", "--seeds", 0, 1, "--evaluate-on", "validation")
    assert "simclr, seed 1: finished before" in capsys.readouterr().out


def test_settings_make_a_row_of_their_own(benchmark, capsys):
    folder = benchmark("--methods", "imsvd_k16", "--views", 3, "--set", "num_bins=8", "temperature=0.5")
    run = json.loads((folder / "imsvd_k16,views=3,num_bins=8,temperature=0.5" / "seed0.json").read_text())["run"]
    assert (run["views"], run["settings"]) == (3, {"num_bins": 8, "temperature": 0.5})
    assert "| imsvd_k16 views=3 num_bins=8 temperature=0.5 |" in capsys.readouterr().out


def test_tuned_rates_are_the_best_trials(benchmark, tmp_path):
    trial = {"state": "complete", "weight_decay": 1e-3}
    trials = [
        {**trial, "learning_rate": 0.5, "score": 0.3},
        {**trial, "learning_rate": 2.0, "score": 0.4},
        {"state": "pruned", "learning_rate": 9.0, "weight_decay": 1e-3, "score": None},
    ]
    (tmp_path / "search.json").write_text(json.dumps({"simclr": trials}))
    folder = benchmark("--methods", "simclr", "random", "--tuned", tmp_path / "search.json")
    run = json.loads((folder / "simclr" / "seed0.json").read_text())["run"]
    assert (run["learning_rate"], run["weight_decay"]) == (2.0, 1e-3)


def test_methods_that_the_search_never_completed_are_left_out_by_name(benchmark, tmp_path, capsys):
    trial = {"state": "complete", "weight_decay": 1e-3, "learning_rate": 0.5, "score": 0.3}
    tuned = {"simclr": [trial], "mmcr": [{**trial, "state": "diverged", "score": None}]}
    (tmp_path / "search.json").write_text(json.dumps(tuned))
    folder = benchmark("--tuned", tmp_path / "search.json")
    assert sorted(path.name for path in folder.iterdir()) == ["random", "settings.json", "simclr"]
    assert "mmcr: left out, because --tuned" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        benchmark("--methods", "mmcr", "--tuned", tmp_path / "search.json")
    assert "holds no complete trial of mmcr" in capsys.readouterr().err


def test_a_diverged_run_is_kept_as_such(benchmark, capsys):
    folder = benchmark("--methods", "byol", "--learning-rate", 1e30, "--epochs", 3)
    assert "The loss is nan" in json.loads((folder / "byol" / "seed0.json").read_text())["diverged"]
    assert "1 diverged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--views", 4], "--views or --set does not fit simclr: simclr takes two views, got 4."),
        (["--set", "num_bins=8"], "--views or --set does not fit simclr: "),
        (["--set", "num_bins"], "argument --set: must be KEY=VALUE, got 'num_bins'"),
        (["--learning-rate", -1], "argument --learning-rate: must be a number > 0, got '-1'"),
        (["--evaluate-on", "train"], "argument --evaluate-on: invalid choice: 'train'"),
    ],
)
def test_wrong_options_are_refused_and_leave_no_folder(benchmark, tmp_path, capsys, words, message):
    with pytest.raises(SystemExit, match="2"):
        benchmark("--methods", "simclr", *words)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_results_of_other_settings_are_never_mixed(benchmark, capsys):
    benchmark("--methods", "random")
    for words in (["--evaluate-on", "validation"], ["--learning-rate", 1]):
        with pytest.raises(SystemExit, match="2"):
            benchmark("--methods", "random", *words)
        assert "take another" in capsys.readouterr().err


def test_a_file_of_too_few_images_is_refused(benchmarks, packed):
    from cifar10_benchmark import open_data
    from small_protocol import make_loaders, split_indices

    with pytest.raises(ValueError, match="50000 training images, got 64"):
        make_loaders(open_data(packed), "validation", split_indices(), BATCH, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [([], "--data is needed to search."), (["--show"], "holds no search.journal: no search has begun there.")],
)
def test_search_without_data_or_trials_says_so(benchmarks, tmp_path, capsys, words, message):
    import small_search

    with pytest.raises(SystemExit, match="2"):
        small_search.main(["--work-dir", str(tmp_path), *words])
    assert message in capsys.readouterr().err


@pytest.fixture
def many_images(packed):
    """A packed file of as many images as CIFAR-10 has, all of them the same."""
    with np.load(packed) as file:
        content = dict(file)
    size = content["train_offsets"][1]
    content["train_jpeg"] = np.tile(content["train_jpeg"][:size], 50_000)
    content["train_offsets"] = size * np.arange(50_001)
    content["train_labels"] = np.arange(50_000) % 10
    np.savez(packed, **content)
    return packed


@pytest.mark.slow
def test_the_command_measures_each_run_in_a_process_of_its_own(benchmarks, many_images, tmp_path):
    words = ["--data", many_images, "--methods", "random", "--work-dir", tmp_path / "work"]
    command = [sys.executable, benchmarks / "small_benchmark.py", *words]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    result = json.loads((tmp_path / "work" / "random" / "seed0.json").read_text())
    assert result["cost"]["peak_memory_bytes"] > 100 * 1024**2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the run in /proc")
def test_a_run_ends_when_the_command_is_killed(benchmarks, many_images, tmp_path):
    words = ["--data", many_images, "--methods", "simclr", "--work-dir", tmp_path / "work"]
    command = [sys.executable, benchmarks / "small_benchmark.py", *words]
    process = subprocess.Popen([str(word) for word in command])
    deadline = time.monotonic() + 120

    def running(pid):
        try:
            return "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()  # of a zombie it is empty
        except OSError:
            return False

    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (workers := [pid for pid in children.read_text().split() if running(pid)]):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    time.sleep(15)  # until it trains
    process.kill()
    process.wait()
    while any(map(running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture
def sweeps(benchmarks, benchmark, packed, tmp_path):
    """Runs the command of the sweeps on a few images, after a search with one trial of each method."""
    import small_sweeps

    tuned = tmp_path / "search.json"
    tuned.write_text(json.dumps(TUNED))

    def run(*words, tuned=tuned):
        options = ["--work-dir", tmp_path / "sweeps", *words]
        if tuned is not None:
            options += ["--data", packed, "--tuned", tuned, "--epochs", 1]
        small_sweeps.main([str(word) for word in options])
        return tmp_path / "sweeps"

    return run


def test_a_sweep_trains_shared_runs_once_and_draws_itself(sweeps, monkeypatch, capsys):
    import small_sweeps
    from small_sweeps import Sweep, point

    def points(*views):
        return tuple(point(count, views=count, batch_size=BATCH) for count in views)

    fixed = Sweep("Fixed", "kind", (*points(2), point("off", settings={"diagonal_weight": 0.0}, batch_size=BATCH)))
    monkeypatch.setattr(small_sweeps, "SWEEPS", {"views": Sweep("Views", "views", points(2, 3)), "fixed": fixed})
    folder = sweeps("--sweeps", "views", "fixed", "--seeds", 0, 1)
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("seed*.json")}
    names = ("", ",views=3", ",diagonal_weight=0.0")
    assert found == {f"imsvd_k16{name},batch_size=16/seed{seed}.json" for name in names for seed in (0, 1)}
    run = json.loads((folder / "imsvd_k16,views=3,batch_size=16" / "seed1.json").read_text())["run"]
    assert (run["learning_rate"], run["weight_decay"], run["views"], run["seed"]) == (0.3, 1e-4, 3, 1)
    assert all((folder / f"{name}.png").stat().st_size > 10_000 for name in ("views", "fixed"))
    assert "begins" in capsys.readouterr().out
    sweeps("--sweeps", "views", "fixed", "--seeds", 0, 1)
    printed = capsys.readouterr().out
    assert "begins" not in printed
    sweeps("--show", tuned=None)
    assert capsys.readouterr().out == printed[printed.index("Views\n") :]


def test_a_sweep_says_what_is_missing(sweeps, tmp_path, capsys):
    (tmp_path / "empty.json").write_text("{}")
    for words, tuned, expected in (
        (["--show"], None, "no sweep has begun there"),
        ([], None, "--data and --tuned are needed"),
        ([], tmp_path / "empty.json", "--tuned holds no complete trial of imsvd_k16"),
        ([], tmp_path / "absent.json", "absent.json"),
    ):
        with pytest.raises(SystemExit):
            sweeps(*words, tuned=tuned)
        assert expected in capsys.readouterr().err


def test_every_setting_of_the_sweeps_fits_its_method(benchmarks):
    from small_protocol import make_model
    from small_sweeps import SWEEPS

    for sweep in SWEEPS.values():
        labels = [(point.line, point.label) for point in sweep.points]
        assert len(set(labels)) == len(labels)
        for point in sweep.points:
            make_model(point.run(0.1, 5e-4, epochs=1, seed=0))
