"""The benchmark scripts with their own methods, on a few small images and with a small backbone."""

import json
import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

METHODS = ["imsvd", "ssl_hsic", "barlowtwins", "vicreg", "simclr", "byol", "moco"]
IMAGES, BATCH = 64, 32  # the images are those of the fixture `packed`


def small_backbone(num_splits):
    return nn.Sequential(nn.Conv2d(3, 512, 4, stride=8), nn.BatchNorm2d(512), nn.ReLU(), nn.AdaptiveAvgPool2d(1))


@pytest.fixture
def cifar10(benchmarks):
    """The CIFAR-10 benchmark with a backbone that trains in no time."""
    import cifar10_benchmark

    return replace(cifar10_benchmark.CIFAR10, backbone=small_backbone)


@pytest.fixture
def benchmark(cifar10, packed, tmp_path):
    """Runs the benchmark's command line; returns the results."""

    def run(*methods, work_dir="work", epochs=1):
        from run import main

        folder = tmp_path / work_dir
        options = ["--batch-size", BATCH, "--num-workers", 0, "--epochs", epochs, "--work-dir", folder]
        main(cifar10, [str(word) for word in ("--data", packed, "--methods", *methods, *options)])
        return json.loads((folder / "results.json").read_text())

    return run


@pytest.mark.parametrize("script", ["cifar10", "imagenette"])
def test_every_method_of_both_scripts_is_a_benchmark_module(benchmarks, script):
    from benchmark_method import Setup
    from lightly.utils.benchmarking import BenchmarkModule

    benchmark = vars(__import__(f"{script}_benchmark"))[script.upper()]
    assert list(benchmark.methods) == METHODS
    setup = Setup(small_backbone, [], 5, 10, BATCH, 0.1)
    for make in benchmark.methods.values():
        assert isinstance(make(setup), BenchmarkModule)
    features = benchmark.backbone(0).eval()(torch.zeros(2, 3, benchmark.views[0].size, benchmark.views[0].size))
    assert features.flatten(start_dim=1).shape == (2, 512)


def test_two_methods_leave_table_file_and_figure(benchmark, capsys, tmp_path):
    runs = benchmark("imsvd", "ssl_hsic")
    output = capsys.readouterr().out
    assert "| Model         | Batch Size | Epochs |  KNN Test Accuracy |       Time | Peak GPU Usage |" in output
    assert list(runs) == ["IMSVD", "SSLHSIC"]
    for model, (result,) in runs.items():
        assert 0 <= result["max_accuracy"] <= 1
        assert result["accuracies"] == pytest.approx([result["max_accuracy"]])
        assert result["runtime"] > 0
        assert f"| {model:<13} | {BATCH:>10} | {1:>6} | {result['max_accuracy']:>18.3f} |" in output
    with Image.open(tmp_path / "work" / "curves.png") as figure:
        assert min(figure.size) > 400


def test_a_finished_method_is_not_trained_again_and_stays_in_the_table(benchmark, capsys, monkeypatch):
    first = benchmark("simclr")
    capsys.readouterr()
    import methods

    monkeypatch.setattr(methods.SimCLRModel, "training_step", None)
    second = benchmark("simclr", "byol")
    assert second["SimCLR"] == first["SimCLR"]
    assert list(second) == ["SimCLR", "BYOL"]
    assert "simclr, seed 0: finished before" in capsys.readouterr().out


# Those that keep more than weights; the others are alike.
KEEPS_STATE = {"imsvd", "ssl_hsic", "moco"}
RESUMED = [pytest.param(method, marks=[] if method in KEEPS_STATE else pytest.mark.slow) for method in METHODS]


@pytest.mark.parametrize("method", RESUMED)
def test_an_interrupted_run_ends_as_the_uninterrupted_one(benchmark, monkeypatch, tmp_path, method):
    epochs = 3
    whole = benchmark(method, epochs=epochs)
    from run import Progress

    def interrupt(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_epoch_start", interrupt)
        with pytest.raises(RuntimeError, match="power cut"):
            benchmark(method, work_dir="cut", epochs=epochs)
    resumed = benchmark(method, work_dir="cut", epochs=epochs)
    ((model, (expected,)),) = whole.items()
    (result,) = resumed[model]
    assert len(result["accuracies"]) == epochs
    assert {**result, "runtime": 0} == {**expected, "runtime": 0}
    states = [torch.load(tmp_path / folder / method / "seed0" / "last.ckpt") for folder in ("work", "cut")]
    ours, theirs = (state["state_dict"] for state in states)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_another_setting_needs_another_folder(benchmark, capsys):
    benchmark("simclr", epochs=1)
    with pytest.raises(SystemExit):
        benchmark("simclr", epochs=2)
    assert "'epochs': 1, 'batch_size': 32}, not of" in capsys.readouterr().err


def test_more_seeds_give_mean_and_deviation(benchmarks, capsys, tmp_path):
    from results import print_table, write_curves

    result = {"batch_size": 8, "epochs": 2, "runtime": 60.0, "gpu_memory_usage": 3 * 1024**3}
    runs = {
        "BYOL": [
            {**result, "max_accuracy": 0.5, "accuracies": [0.4, 0.5]},
            {**result, "max_accuracy": 0.7, "accuracies": [0.3, 0.7], "gpu_memory_usage": 0},
        ]
    }
    print_table(runs)
    assert "|     0.600 +- 0.100 |    1.0 Min |      3.0 GByte |" in capsys.readouterr().out
    write_curves(tmp_path / "curves.png", runs, "two seeds")
    assert (tmp_path / "curves.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch-size", IMAGES + 1], f"--batch-size must be at most the {IMAGES} training images, got {IMAGES + 1}"),
        (["--epochs", 0], "argument --epochs: must be an integer >= 1, got '0'"),
        (["--batch-size", 1], "argument --batch-size: must be an integer >= 2, got '1'"),
        (["--num-workers", -1], "argument --num-workers: must be an integer >= 0, got '-1'"),
    ],
)
def test_wrong_numbers_are_refused_and_leave_no_folder(cifar10, packed, tmp_path, capsys, words, message):
    from run import main

    options = ["--data", packed, "--num-workers", 0, "--work-dir", tmp_path / "work", *words]
    with pytest.raises(SystemExit, match="2"):
        main(cifar10, [str(word) for word in options])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_folder_of_other_data_is_refused(cifar10, packed, tmp_path, capsys):
    from run import main

    other = tmp_path / "other.npz"
    other.write_bytes(packed.read_bytes())
    options = ["--methods", "simclr", "--epochs", 1, "--batch-size", BATCH, "--num-workers", 0]
    options = [str(word) for word in [*options, "--work-dir", tmp_path / "work"]]
    main(cifar10, ["--data", str(packed), *options])
    with pytest.raises(SystemExit, match="2"):
        main(cifar10, ["--data", str(other), *options])
    assert str(packed) in capsys.readouterr().err


def test_an_unknown_method_is_answered_with_the_known_ones(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark("imsdv")
    error = capsys.readouterr().err
    assert "invalid choice: 'imsdv'" in error
    assert all(method in error for method in METHODS)


@pytest.mark.parametrize(
    ("script", "name", "message"),
    [
        ("cifar10", "absent", "--data must be a folder that holds torchvision's cifar-10-batches-py, or a packed file"),
        ("cifar10", "absent.npz", "there is no file"),
        ("imagenette", "absent", "--data must be a folder with train/ and val/"),
    ],
)
def test_data_that_are_not_there_are_named_before_training(
    benchmarks, tmp_path, monkeypatch, capsys, script, name, message
):
    path = tmp_path / name
    monkeypatch.setattr(sys, "argv", ["script", "--data", str(path), "--work-dir", str(tmp_path / "work")])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(benchmarks / f"{script}_benchmark.py"), run_name="__main__")
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert str(path) in error


VIEWS = {"cifar10": 32, "imagenette": 128}


@pytest.mark.parametrize("script", VIEWS)
def test_views_of_a_batch_are_drawn_for_each_image(benchmarks, script):
    benchmark = vars(__import__(f"{script}_benchmark"))[script.upper()]
    torch.manual_seed(0)
    image = torch.rand(3, benchmark.stored_size, benchmark.stored_size)
    for view in benchmark.views:
        views = view.of_a_batch()(image.expand(8, -1, -1, -1))
        assert views.shape == (8, 3, VIEWS[script], VIEWS[script])
        assert views.min() >= 0
        assert views.max() <= 1
        assert len(views.flatten(start_dim=1).unique(dim=0)) == 8


@pytest.mark.parametrize(("blur", "solarization"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.2)])
def test_views_of_batches_are_as_strong_as_those_of_images(benchmarks, blur, solarization):
    """Kornia's and Lightly's views differ draw by draw, but their brightness, its spread and the contrast agree."""
    from views import View, middle_of_an_image, normalize, to_float

    patches = np.random.default_rng(0).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    image = Image.fromarray(patches).resize((32, 32), Image.Resampling.BICUBIC)
    view = View(size=32, min_scale=0.2, saturation=0.4, blur=blur, solarization=solarization)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (Lightly's blur and solarization draw from it)
    of_an_image = view.of_an_image()
    singles = torch.stack([of_an_image(image) for _ in range(1000)])
    batch = normalize(view.of_a_batch()(to_float(middle_of_an_image(32)(image)).expand(1000, -1, -1, -1)))

    def figures(views):
        return [views.mean().item(), views.mean(dim=(1, 2, 3)).std().item(), views.std(dim=(1, 2, 3)).mean().item()]

    assert figures(batch) == pytest.approx(figures(singles), abs=0.06)


@pytest.mark.parametrize("method", ["imsvd", "moco"])
def test_images_in_device_memory_train_the_same_modules(cifar10, packed, tmp_path, method):
    """What a GPU runs, but for its precision."""
    from types import SimpleNamespace

    from loaders import device_loaders
    from run import train

    cpu = torch.device("cpu")
    loaders = device_loaders(cifar10.open_data(packed), cifar10.views, 32, batch_size=BATCH, num_workers=0, device=cpu)
    options = SimpleNamespace(batch_size=BATCH, epochs=2)
    result = train(cifar10, method, 0, loaders, options, cpu, tmp_path / "work")
    assert len(result["accuracies"]) == 2
    assert result["max_accuracy"] > 0.3  # the colours tell the classes


def test_device_loader_shuffles_whole_batches_to_train_and_keeps_all_in_order_to_score(benchmarks):
    from loaders import DeviceLoader

    images = torch.arange(10).view(10, 1)
    train = DeviceLoader(images, images[:, 0], 4, lambda batch: batch, train=True)
    torch.manual_seed(0)
    epochs = [torch.cat([labels for _, labels, _ in train]) for _ in range(2)]
    assert len(train) == 2
    assert all(len(epoch.unique()) == 8 for epoch in epochs)
    assert not torch.equal(*epochs)
    still = DeviceLoader(images, images[:, 0], 4, lambda batch: batch, train=False)
    assert len(still) == len(list(still)) == 3
    assert torch.equal(torch.cat([labels for _, labels, _ in still]), images[:, 0])


@pytest.mark.parametrize(("images", "batch"), [(33, 32), (65, 32), (10, 3), (1, 1), (5, 4)])
def test_no_last_batch_of_a_single_image_is_scored(benchmarks, images, batch):
    from loaders import still_batch

    assert images % still_batch(images, batch) != 1
    assert still_batch(64, 32) == 32
