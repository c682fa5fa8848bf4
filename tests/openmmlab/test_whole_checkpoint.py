"""Which checkpoint a run resumes from when the last one was cut off."""

import logging
import os
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer

from imsvd_plugins._weights_only import weights_only
from imsvd_plugins.openmmlab.errors import CheckpointError
from imsvd_plugins.openmmlab.resume.whole_checkpoint import is_whole, resume_from_whole


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of three epochs."""
    for epoch in (1, 2, 3):
        path = tmp_path / f"epoch_{epoch}.pth"
        torch.save({"epoch": epoch, "weights": torch.rand(1000)}, path)
        os.utime(path, (epoch, epoch))
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_3.pth"))
    return tmp_path


@pytest.fixture
def chosen(folder, caplog):
    """The name of the checkpoint to resume from, and what was said."""

    def choose():
        with caplog.at_level(logging.INFO):
            resume_from_whole(folder, folder, "epoch_{}.pth", logging.getLogger("test"))
        pointer = folder / "last_checkpoint"
        return Path(pointer.read_text()).name if pointer.exists() else None, caplog.text

    return choose


def test_a_whole_one_stays(chosen):
    assert chosen() == ("epoch_3.pth", "")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_one_that_was_cut_off_is_passed_over(folder, chosen, share):
    path = folder / "epoch_3.pth"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    name, said = chosen()
    assert name == "epoch_2.pth"
    assert "WARNING" in said
    assert f"{path} was cut off" in said
    assert f"Resuming from {folder / 'epoch_2.pth'}" in said


def test_one_with_a_hole_is_passed_over(folder, chosen):
    path = folder / "epoch_3.pth"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 100] = bytes(100)
    path.write_bytes(content)
    assert chosen()[0] == "epoch_2.pth"


def test_one_that_was_deleted_makes_room_for_the_newest(folder, chosen):
    (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
    (folder / "epoch_1.pth").unlink()
    name, said = chosen()
    assert name == "epoch_3.pth"
    assert "does not exist" in said


def test_a_last_checkpoint_that_is_empty_or_not_yet_there(folder, chosen):
    (folder / "last_checkpoint").write_text("")
    assert chosen()[0] == "epoch_3.pth"
    (folder / "last_checkpoint").unlink()
    assert chosen()[0] == "epoch_3.pth"


def test_an_earlier_runs_checkpoints_and_the_best_ones_do_not_count(folder, chosen):
    for name, seconds in (("epoch_60.pth", 0), ("best_accuracy_epoch_3.pth", 9), ("epoch_3-1a2b3c4d.pth", 9)):
        torch.save({}, folder / name)
        os.utime(folder / name, (seconds, seconds))
    (folder / "epoch_3.pth").write_bytes(b"")
    assert chosen()[0] == "epoch_2.pth"


@pytest.mark.parametrize("pointer", ["epoch_3.pth", "elsewhere.pth", "", None])
def test_without_a_whole_one_the_run_stops(folder, chosen, pointer):
    for path in folder.glob("*.pth"):
        path.write_bytes(b"PK")
    if pointer is None:
        (folder / "last_checkpoint").unlink()
    else:
        (folder / "last_checkpoint").write_text(pointer and str(folder / pointer))
    before = sorted(folder.iterdir())
    with pytest.raises(CheckpointError) as error:
        chosen()
    assert str(error.value).startswith("cannot resume: ")
    assert f"{folder} has no whole checkpoint. Give another one by load_from, or delete " in str(error.value)
    assert "\n" not in str(error.value)
    assert all(str(path) in str(error.value) for path in before)
    assert sorted(folder.iterdir()) == before


def test_a_lost_checkpoint_stops_the_run_too(folder, chosen):
    for path in folder.glob("*.pth"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"epoch_3.pth does not exist, and .* has no whole checkpoint"):
        chosen()


def test_a_first_run_says_that_it_starts_anew(folder, chosen):
    for path in folder.iterdir():
        path.unlink()
    name, said = chosen()
    assert name is None
    assert f"There is no checkpoint in {folder} to resume from: training starts anew." in said


class TestOlderFormat:
    """torch's before 1.6, which ``torch.save`` still writes on demand: it is no zip archive."""

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "old.pth"
        weights = {"float": torch.rand(100), "half": torch.rand(7).half(), "part": torch.rand(9)[2:4]}
        content = {"state_dict": weights, "hub": HistoryBuffer([1.0, 2.0], [1, 1]), "names": {"a", "b"}}
        torch.save(content, path, _use_new_zipfile_serialization=False)
        return path

    def test_a_whole_one_is_taken(self, folder, chosen, path):
        (folder / "last_checkpoint").write_text(str(path))
        with weights_only():  # as in the command
            assert chosen() == ("old.pth", "")

    def test_it_is_whole_at_its_last_byte_alone(self, path):
        content = path.read_bytes()
        cut = path.with_name("cut.pth")
        for length in [*range(0, len(content), 211), len(content) - 1]:
            cut.write_bytes(content[:length])
            assert not is_whole(cut), length

    def test_nothing_in_it_is_run(self, tmp_path):
        torch.save({"a": Touch(tmp_path / "touched")}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
        assert is_whole(tmp_path / "x.pth")
        assert not (tmp_path / "touched").exists()


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)
