import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imsvd_plugins import __version__, cli, plugins

BROKEN = {
    "kernels": {
        "bad": "acme:Absent",
        "worse": "acme_script:X",
        "end": "acme_end:X",
        "mute": "acme_mute:X",
        "three": "acme:three",
        "nothing": "acme:nothing",
        "wants": "acme:Wants",
    }
}
CODE = {
    "acme": "print('hello')\nthree = 3\nnothing = None\nclass Wants:\n    def __init__(self, width): ...\n",
    "acme_script": "raise SystemExit('first\\nsecond')",
    "acme_end": "raise type('End', (BaseException,), {})('of all')",
    "acme_mute": "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})",
}


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the installed command in another process, with further folders of installed distributions."""

    def run(*arguments: str, sites: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(map(str, sites))
        return subprocess.run(
            [Path(sys.executable).with_name("imsvd-plugins"), *arguments],
            env={**os.environ, "PYTHONPATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def run_without_hosts(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command as if neither host were installed."""
    code = """
import sys
from imsvd_plugins import cli
sys.modules |= {"lightly": None, "mmpretrain": None}
sys.exit(cli.main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("module", ["imsvd_plugins", "imsvd_plugins.cli"])
def test_module_works_like_the_command(module: str, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for arguments in (["--help"], ["list", "kernels"], ["list", "nothing"]):
        expected = command(*arguments)
        found = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
        assert (found.returncode, found.stdout, found.stderr) == (
            expected.returncode,
            expected.stdout,
            expected.stderr,
        )


# --- list -------------------------------------------------------------------------------------------------------------


def test_list_prints_one_aligned_line_a_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "kernels"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["KIND", "NAME", "VALUE", "DISTRIBUTION"]
    assert [line.split()[1] for line in lines] == ["gaussian", "imq", "laplacian", "linear"]
    assert {line.index("imsvd_plugins.functional.kernels:") for line in lines} == {heading.index("VALUE")}
    assert {line[heading.index("DISTRIBUTION") :] for line in lines} == {f"imsvd_plugins {__version__}"}


def test_list_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "losses", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "kind": "losses",
            "name": name,
            "value": f"imsvd_plugins.losses:{attr}",
            "distribution": f"imsvd_plugins {__version__}",
            "rivals": [],
        }
        for name, attr in (("hsic", "HSICLoss"), ("imsvd", "IMSVDLoss"))
    ]


def test_list_in_a_fresh_process_does_not_import_torch() -> None:
    code = "import sys; from imsvd_plugins import cli; cli.main(['list']); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.splitlines()[-1] == "False"
    assert "imq" in result.stdout


def test_check_finds_all_built_ins_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--check", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) >= 17
    assert {plugin["status"] for plugin in listed} == {"ok"}


def test_check_marks_the_broken_and_goes_on(
    command: Callable[..., subprocess.CompletedProcess[str]], write_distribution: Callable[..., Path]
) -> None:
    site = write_distribution("acme", BROKEN, **CODE)
    result = command("list", "kernels", "--check", "--json", sites=(site,))
    assert result.returncode == 1
    # What plug-ins print is kept out of the output.
    status = {plugin["name"]: plugin["status"] for plugin in json.loads(result.stdout)}
    assert "hello" in result.stderr
    assert status == {
        "gaussian": "ok",
        "imq": "ok",
        "laplacian": "ok",
        "linear": "ok",
        "bad": "broken: AttributeError: module 'acme' has no attribute 'Absent'",
        "worse": "broken: SystemExit: first second",
        "end": "broken: End: of all",
        "mute": "broken: Mute: (its message raises ZeroDivisionError)",
        "three": "broken: kernels plug-in 'three' (acme:three) of acme 1.0 must be a class, got an object of type int.",
        "nothing": "broken: kernels plug-in 'nothing' (acme:nothing) of acme 1.0 must be a class, "
        "got an object of type NoneType.",
        "wants": "broken: TypeError: Wants.__init__() missing 1 required positional argument: 'width'",
    }
    assert command("list", "kernels", sites=(site,)).returncode == 0


def test_check_marks_a_disputed_name_and_shows_what_a_built_in_hides(
    command: Callable[..., subprocess.CompletedProcess[str]], write_distribution: Callable[..., Path]
) -> None:
    acme = write_distribution("acme", {"kernels": {"mine": "acme:X", "imq": "acme:X"}}, acme="X = int")
    zenith = write_distribution("zenith", {"kernels": {"mine": "zenith:X"}}, folder="other", zenith="X = int")
    result = command("list", "kernels", "--check", sites=(acme, zenith))
    assert result.returncode == 1
    lines = [line for line in result.stdout.splitlines() if " mine " in line]
    assert len(lines) == 2
    assert all("broken" in line and "acme 1.0" in line and "zenith 1.0" in line for line in lines)
    (imq,) = (line for line in result.stdout.splitlines() if " imq " in line)
    assert "acme 1.0" in imq
    assert imq.endswith("ok")


def test_names_cannot_command_the_terminal(install: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """An escape sequence could hide a line, or make it look like another."""
    hidden = "\x1b[2K\x1b[1A"
    install("acme", {"kernels": {f"{hidden}red": f"acme:{hidden}"}}, acme=f"raise ValueError('{hidden}')")
    assert cli.main(["list", "kernels", "--check"]) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[2K\\x1b[1Ared" in shown
    with pytest.raises(plugins.PluginError) as caught:
        plugins.load("kernels", f"{hidden}red")
    assert "\x1b" not in str(caught.value)


def test_an_absent_host_is_no_fault() -> None:
    result = run_without_hosts("list", "--check", "--json")
    assert result.returncode == 0, result.stdout
    for plugin in json.loads(result.stdout):
        host = plugin["name"].partition("_")[0]
        assert plugin["status"] == (f"needs imsvd_plugins[{host}]" if host in ("lightly", "openmmlab") else "ok")


# --- train and demo ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "test", "lightly"])
@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["x.py", "--help"], ["x.py", "--launcher", "pytorch", "--cfg-options", "a=b", "list"]]
)
def test_a_hosts_command_gets_everything(command: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[Any] = []
    monkeypatch.setattr("imsvd_plugins.commands.train.main", lambda argv, tool: passed.append((tool, argv)))
    monkeypatch.setattr("imsvd_plugins.commands.lightly.command.main", lambda argv: passed.append(("lightly", argv)))
    assert cli.main([command, *arguments]) == 0
    assert passed == [(command, arguments)]


@pytest.mark.parametrize(("command", "extra"), [("train", "openmmlab"), ("test", "openmmlab"), ("lightly", "lightly")])
def test_a_command_without_its_host_says_what_to_install(command: str, extra: str) -> None:
    result = run_without_hosts(command, "x.py")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"pip install 'imsvd_plugins[{extra}]'" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("imsvd", "openmmlab", Path("work_dirs/demo_openmmlab_imsvd"), False, None)),
        (
            ["--method", "ssl-hsic", "--host", "lightly"],
            ("ssl-hsic", "lightly", Path("work_dirs/demo_lightly_ssl-hsic"), False, None),
        ),
        (["--work-dir", "here", "--resume", "--epochs", "3"], ("imsvd", "openmmlab", Path("here"), True, 3)),
    ],
)
def test_demo_gets_its_options(
    arguments: list[str], expected: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[Any, ...]] = []
    monkeypatch.setattr("imsvd_plugins.commands.demo.demo.run", lambda *given: called.append(given))
    assert cli.main(["demo", *arguments]) == 0
    assert called == [expected]


# --- The frame --------------------------------------------------------------------------------------------------------


def test_without_arguments_it_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("demo", "train", "list", "export"))


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"imsvd-plugins {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "kernel"], "invalid choice: 'kernel'"),
        (["demo", "--method", "hsic"], "invalid choice: 'hsic'"),
        (["demo", "--epochs", "0"], "--epochs: must be an integer >= 1, got '0'"),
        (["export", "x.pth", "--format", "onnx"], "invalid choice: 'onnx'"),
        (["export", "x.pth", "--format", "timm"], "CHECKPOINT must be a file, and 'x.pth' is absent"),
        (["nothing"], "invalid choice: 'nothing'"),
    ],
)
def test_wrong_arguments_end_with_status_2_and_a_reason(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert message in capsys.readouterr().err


def test_ctrl_c_ends_with_status_130_and_one_line(
    command: Callable[..., subprocess.CompletedProcess[str]], write_distribution: Callable[..., Path]
) -> None:
    code = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)"
    site = write_distribution("acme", {"kernels": {"slow": "acme:X"}}, acme=code)
    result = command("list", "kernels", "--check", sites=(site,))
    assert result.returncode == 130
    assert result.stderr == "imsvd-plugins: interrupted\n"


def test_an_import_error_that_is_no_missing_extra_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise ImportError("a fault")

    monkeypatch.setattr("imsvd_plugins.commands.demo.demo.run", run)
    with pytest.raises(ImportError, match="a fault"):
        cli.main(["demo"])


def test_a_reader_that_stops_reading_is_no_error():
    script = f"{sys.executable} -u -m imsvd_plugins list | head -n 1"
    shell = subprocess.run(["bash", "-c", f"set -o pipefail; {script}"], check=False, capture_output=True, text=True)
    assert shell.stdout.startswith("KIND")
    assert "Traceback" not in shell.stderr
