"""Which checkpoint a run resumes from when the last one was cut off."""

import logging
import os
from pathlib import Path

import pytest
import torch

from imsvd_plugins.openmmlab.whole_checkpoint import resume_from_whole


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
    assert f"{path} is not whole" in said
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


def test_without_a_whole_one_training_starts_anew(folder, chosen):
    for path in folder.glob("*.pth"):
        path.write_bytes(b"PK")
    name, said = chosen()
    assert name is None
    assert "Training starts anew" in said


def test_a_first_run_says_nothing(folder, chosen):
    for path in folder.iterdir():
        path.unlink()
    assert chosen() == (None, "")
