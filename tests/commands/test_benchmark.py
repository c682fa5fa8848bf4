"""`imsvd-plugins benchmark`, at sizes that take no time. Nothing here asserts a time."""

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from imsvd_plugins import cli
from imsvd_plugins import functional as F
from imsvd_plugins.commands.benchmark import runner
from imsvd_plugins.commands.benchmark.candidates import make_step, plain_imsvd
from imsvd_plugins.commands.benchmark.settings import LOSSES, Settings
from imsvd_plugins.commands.benchmark.traffic import Traffic
from imsvd_plugins.distributed import all_gather_single, reduce_scatter_single

CPU = torch.device("cpu")
TINY = ["--samples", "8", "--dim", "24", "--bins", "4", "--features", "6", "--threads", "1"]
# D^2 floats are more than an address space holds, N D floats are not.
ENORMOUS = ["--samples", "2", "--dim", "6000000", "--features", "2", "--repeats", "1", "--threads", "1"]


# --- What is reported -------------------------------------------------------------------------------------------------


def test_table_json_and_chart_hold_what_was_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, chart = tmp_path / "costs.json", tmp_path / "costs.png"
    arguments = ["imsvd", "products", *TINY, "--repeats", "3", "--json", str(file), "--plot", str(chart)]
    assert cli.main(["benchmark", *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == ["measuring imsvd (1 of 2)", "measuring products (2 of 2)"]
    about, heading, *rows = printed.out.splitlines()
    assert about.startswith("N = 8, D = 24, K = 4, F = 6, V = 2; float32, ")
    # One rank sends nothing and nothing failed: those columns are not there.
    titles = ["LOSS", "MEDIAN ms", "MIN ms", "FIRST ms", "x products", "MEMORY MB", "GFLOP", "OF RATE"]
    assert [title.strip() for title in heading.split("  ") if title.strip()] == titles
    assert [row.split()[0] for row in rows] == ["imsvd", "products"]

    found = json.loads(file.read_text())
    expected = Settings(samples=8, dim=24, bins=4, features=6, repeats=3, threads=1)
    assert found["settings"] == expected._asdict()
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0]
    imsvd, products = found["results"]
    assert [imsvd["loss"], products["loss"]] == ["imsvd", "products"]
    assert imsvd["flops"] == products["flops"] == 3 * 2 * 8 * 24**2
    assert products["ratio"] == products["rate_fraction"] == 1
    assert imsvd["ratio"] * products["median_seconds"] == pytest.approx(imsvd["median_seconds"])
    assert len(imsvd["ranks"][0]["seconds"]) == 3
    assert chart.stat().st_size > 0


@pytest.mark.parametrize(("samples", "warned"), [("16", False), ("8", True)])
def test_a_warning_is_about_the_batch_that_was_asked_for(
    samples: str, warned: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """K^2 = 64 cells are fine for 16 samples, and too many for 8 or for the few of the step that warms up."""
    arguments = ["--samples", samples, "--dim", "16", "--bins", "8", "--repeats", "1", "--threads", "1"]
    assert cli.main(["benchmark", "imsvd", *arguments]) == 0
    printed = capfd.readouterr().err
    assert printed.count("TooManyBinsWarning") == warned
    assert f"a batch of {samples}:" in printed or not warned


def test_two_ranks_halve_the_products_and_send_what_the_division_of_rows_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["benchmark", "imsvd", *TINY, "--repeats", "1", "--ranks", "2", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert [rank["flops"] for rank in result["ranks"]] == [3 * 2 * 8 * 24**2 // 2] * 2
    own = 4 * 24 * 4  # bytes of one view's probabilities on a rank
    # Gather one view and reduce its gradient, exchange half of the other and of its gradient; batch sizes and terms.
    assert result["sent_bytes"] == own + own + own // 2 + own // 2 + 2 * 8 + 3 * 4


def test_a_loss_that_fails_is_a_row_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", "products", "hsic", *ENORMOUS]) == 1
    *_, failed, went_on = capsys.readouterr().out.splitlines()
    assert failed.startswith("products")
    assert "RuntimeError" in failed
    assert went_on.startswith("hsic")
    assert "Error" not in went_on


def test_a_process_that_is_killed_is_a_row() -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=signal.raise_signal, args=(signal.SIGKILL,))
    process.start()
    answers, sender = context.Pipe(duplex=False)
    sender.close()
    result = runner._collect("products", [process], [answers])
    assert result == runner.Result("products", [], "its process ended with status -9 (out of memory?)")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the rank in /proc")
def test_ctrl_c_ends_the_ranks() -> None:
    command = [Path(sys.executable).with_name("imsvd-plugins"), "benchmark", "products", "--repeats", "1000000"]
    with subprocess.Popen([*command, *TINY], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "measuring products (1 of 1)\n"
        deadline = time.monotonic() + 60
        while not (ranks := _ranks(process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "imsvd-plugins: interrupted\n"
        assert process.wait(timeout=60) == 130
    assert not any(rank.exists() for rank in ranks)


def _ranks(parent: int) -> list[Path]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    # The other child is a helper of multiprocessing's, which ends by itself.
    paths = [Path("/proc", child) for child in children]
    return [path for path in paths if b"spawn_main" in (path / "cmdline").read_bytes()]


# --- How it is measured -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_makes_a_step(loss: str) -> None:
    make_step(loss, Settings(samples=4, dim=8, bins=4, features=6), 0, CPU)()


def test_the_plain_formula_is_the_same_loss() -> None:
    z_a, z_b = torch.randn(2, 6, 12, dtype=torch.float64, requires_grad=True)
    plain, ours = plain_imsvd(z_a, z_b, 4), F.imsvd_loss([z_a, z_b], 4).loss
    torch.testing.assert_close(plain, ours)
    torch.testing.assert_close(torch.autograd.grad(plain, [z_a, z_b]), torch.autograd.grad(ours, [z_a, z_b]))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell")
def test_memory_is_the_peak_of_the_step_alone() -> None:
    # In a new process, as in a run: in this one the step might find room that an earlier test has left behind.
    code = """
import torch
from imsvd_plugins.commands.benchmark import measure

before = torch.ones(2**23)
print(measure.first_step(lambda: torch.ones(2**24).sum(), torch.device("cpu"))[0])
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Neither what was there counts, nor is missing what is gone afterwards.
    assert int(finished.stdout) == pytest.approx(4 * 2**24, abs=2**21)


def test_bytes_are_counted_by_collective_in_backward_too(run_on_ranks: Callable[..., list[Any]]) -> None:
    for counted in run_on_ranks(_count_collectives, 2):
        assert counted == {"all_reduce": 96, "all_gather": 96, "reduce_scatter": 96, "all_to_all": 48, "barrier": 0}


def _count_collectives(rank: int) -> dict[str, float]:
    x = torch.full((24,), float(rank))  # 96 bytes
    calls = {
        "all_reduce": lambda: dist.all_reduce(x.clone()),
        "all_gather": lambda: all_gather_single(torch.empty(48), x),
        "reduce_scatter": lambda: reduce_scatter_single(x.clone(), torch.ones(48)),
        # Rank 0 keeps all but 12 numbers of its own, rank 1 as many.
        "all_to_all": lambda: dist.all_to_all_single(x.clone(), x, [12, 12], [12, 12]),
        "barrier": dist.barrier,
    }
    counted = {}
    for name, call in calls.items():
        with Traffic() as traffic:
            call()
        counted[name] = traffic.sent_bytes
    return counted


def test_hsic_sends_the_same_whatever_the_batch(run_on_ranks: Callable[..., list[Any]]) -> None:
    for small, large in run_on_ranks(_count_hsic, 2):
        assert small == large
        # Sums (F,) of both draws and the covariance (F, F), forward and backward: at least.
        assert small >= 2 * 4 * (6 + 6 + 6 * 6)


def _count_hsic(rank: int) -> list[float]:
    counts = []
    for samples in (8, 128):
        step = make_step("hsic", Settings(samples=samples, dim=16, features=6, ranks=2), rank, CPU)
        with Traffic() as traffic:
            step()
        counts.append(traffic.sent_bytes)
    return counts


# --- What is refused, before anything is measured ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["imsdv"], "LOSS must be one of imsvd, imsvd-plain, products"),
        (["imsdv"], "got 'imsdv'; did you mean imsvd"),
        (["imsvd", "--samples", "1"], "--samples must be >= 2, got 1"),
        (["imsvd", "--samples", "0"], "--samples: must be an integer >= 1, got '0'"),
        (["imsvd", "--ranks", "0"], "--ranks: must be an integer >= 1, got '0'"),
        (["imsvd", "--samples", "8", "--ranks", "3"], "--ranks must divide --samples = 8, the global batch; got 3"),
        (["imsvd", "--dim", "24", "--bins", "7"], "D = 24, got num_bins = 7; nearest that do: 3, 4, 6, 8"),
        (["hsic", "--views", "1"], "--views must be >= 2, got 1"),
        (["hsic-orf", "--features", "5"], "--features must be even for hsic-orf, got 5"),
        (["imsvd", "--reference", "products"], "--reference must be one of imsvd; got 'products'"),
        (["--json", "imsvd"], "--json imsvd would be a file"),
        (["imsvd", "--json", "absent/costs.json"], "--json: there is no folder 'absent'"),
        (["imsvd", "--plot", "costs.gif2"], "--plot must end in one of"),
        (["imsvd", "--autocast", "float64"], "invalid choice: 'float64'"),
        pytest.param(
            ["imsvd", "--device", "cuda"],
            "--device cuda needs a device a rank: 1; torch finds 0",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_wrong_arguments_end_with_status_2_and_a_reason(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["benchmark", *arguments])
    printed = capsys.readouterr().err
    assert message in printed
    assert "measuring" not in printed


def test_an_absent_lightly_is_named_if_asked_for_and_skipped_if_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lightly", None)
    assert cli.main(["benchmark", "imsvd", "vicreg"]) == 1
    assert (
        "vicreg needs Lightly, which is not installed: pip install 'imsvd_plugins[lightly]'" in capsys.readouterr().err
    )
    assert runner.choose([]) == ["imsvd", "imsvd-plain", "products", "hsic", "hsic-orf"]
    assert capsys.readouterr().err.startswith(
        "skipped: barlow-twins, vicreg, nt-xent needs Lightly, which is not installed"
    )


def test_an_absent_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    assert cli.main(["benchmark", "imsvd", "--plot", "costs.png"]) == 1
    assert "pip install 'imsvd_plugins[explain]'" in capsys.readouterr().err
