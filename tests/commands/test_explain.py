"""`imsvd-plugins explain` from a real checkpoint, and what goes wrong."""

import errno
import json
import os
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imsvd_plugins import cli


@pytest.fixture(scope="module", params=["openmmlab", "lightly"])
def checkpoint(request, tmp_path_factory):
    """What the demo of a host leaves after an epoch."""
    folder = tmp_path_factory.mktemp(f"demo_{request.param}")
    assert cli.main(["demo", "--host", request.param, "--epochs", "1", "--work-dir", str(folder)]) == 0
    return next(iter([*folder.rglob("epoch_1.pth"), *folder.rglob("last.ckpt")]))


@pytest.fixture
def photographs(tmp_path):
    """A few images with names that want to be run, and two that cannot be read."""
    folder = tmp_path / "photographs"
    rng = np.random.default_rng(0)
    for kind, level in (("bright", 180), ("dark", 20)):
        (folder / kind).mkdir(parents=True)
        for number in range(6):
            pixels = (level + rng.integers(0, 60, (16, 16, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    Image.new("L", (16, 16), 100).save(folder / "dark" / "<script>alert('1')<!--.png")
    Image.new("RGBA", (16, 16)).save(folder / "dark" / 'quoted "name"\nof two lines.png')
    (folder / "dark" / "broken.png").write_bytes(b"\x89PNG\r\n")
    return folder


def test_a_report_is_whole_and_names_what_it_left_out(checkpoint, photographs, tmp_path, capsys):
    out = tmp_path / "report"
    words = ["--attributions", "2", "--batch-size", "5", "--workers", "0"]
    assert cli.main(["explain", str(checkpoint), str(photographs), "--out", str(out), *words]) == 0
    said = capsys.readouterr()
    assert (out / "index.html").absolute().as_uri() in said.out
    assert "Skipped 1 of 15 images that cannot be read" in said.err
    assert "dark/broken.png" in said.err
    assert {file.name for file in out.iterdir()} == {
        *("index.html", "overview.png", "representation.png", "report.json", "report.npz")
    }
    report = json.loads((out / "report.json").read_text())
    assert len(report["names"]) == 14
    assert report["classes"] == ["bright", "dark"]
    assert report["variables"]["entropies"]
    page = (out / "index.html").read_text()
    assert "<script>alert" not in page
    assert not re.search(r"(src|href)=.?(https?:)?//", page)
    assert [each.name for each in tmp_path.iterdir() if "part" in each.name] == []
    # Again, over it.
    with pytest.raises(SystemExit):
        cli.main(["explain", str(checkpoint), str(photographs), "--out", str(out), *words])
    assert "holds a report: give another --out, or --force to replace it." in capsys.readouterr().err
    assert cli.main(["explain", str(checkpoint), str(photographs), "--out", str(out), "--force", *words]) == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nothing.pth", "digits", "--out", "new"], "CHECKPOINT must be a file, and 'nothing.pth' is absent."),
        (["made.pth", "nowhere", "--out", "new"], "IMAGES must be a folder, a packed file"),
        (["made.pth", "empty", "--out", "new"], "IMAGES must hold images, and 'empty' holds nothing"),
        (
            ["made.pth", "digits", "--out", "full"],
            "--out must be a new folder or an earlier report's, and 'full' holds",
        ),
        (["made.pth", "digits", "--out", "made.pth"], "--out must be a folder, and 'made.pth' is a file."),
        (["made.pth", "digits", "--out", "no/where"], "--out must be in an existing folder, got 'no/where'."),
        (["made.pth", "digits", "--out", "new"], "made.pth is no whole checkpoint that torch.save wrote"),
        (["made.pth", "digits", "--out", "new", "--attributions", "-1"], "must be an integer >= 0, got '-1'"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(words, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.pth").write_bytes(b"no checkpoint")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(SystemExit) as stopped:
        cli.main(["explain", *words])
    assert stopped.value.code == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "full" / "thesis.tex").exists()


def test_a_full_disk_is_said_and_leaves_the_earlier_report(checkpoint, photographs, tmp_path, monkeypatch, capsys):
    words = ["explain", str(checkpoint), str(photographs), "--out", str(tmp_path / "report"), "--attributions", "0"]
    words += ["--workers", "0", "--force"]
    assert cli.main(words) == 0
    earlier = (tmp_path / "report" / "report.json").read_text()

    def write(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("imsvd_plugins.explain.report_folder.write_page", write)
    with pytest.raises(SystemExit):
        cli.main(words)
    assert "report cannot be written: No space left on device." in capsys.readouterr().err
    assert (tmp_path / "report" / "report.json").read_text() == earlier
    assert sorted(each.name for each in tmp_path.iterdir()) == ["photographs", "report"]


def test_an_interrupted_report_leaves_nothing(checkpoint, photographs, tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("imsvd_plugins.explain.report_folder.write_page", interrupt)
    words = ["--out", str(tmp_path / "report"), "--attributions", "0", "--workers", "0"]
    assert cli.main(["explain", str(checkpoint), str(photographs), *words]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "imsvd-plugins: interrupted"
    assert [each.name for each in tmp_path.iterdir()] == ["photographs"]


def run_the_guides(example, checkpoint, folder, monkeypatch):
    code = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "pages.py"))["examples"]()[example]
    place = folder / re.search(r'Path\("(.*?)"\)', code)[1]
    place.parent.mkdir(parents=True)
    shutil.copy(checkpoint, place)
    monkeypatch.chdir(folder)
    exec(code, {})


def test_the_guides_example_embeds(checkpoint, tmp_path, monkeypatch, capsys):
    run_the_guides("embed_digits.py", checkpoint, tmp_path, monkeypatch)
    said = capsys.readouterr().out
    assert re.search(r"^\(256, (\d+)\) \(256, 32\)\n\(103, \1\) \(103, 32\)\n\Z", said, re.M)


def test_the_guides_example_writes_a_report(checkpoint, tmp_path, monkeypatch, capsys):
    run_the_guides("variables.py", checkpoint, tmp_path, monkeypatch)
    assert len(capsys.readouterr().out.split()) >= 2 * 32  # two figures of each of the demo's variables
    assert (tmp_path / "report" / "index.html").is_file()
