"""Files that ask for more than data are refused by every command that loads a checkpoint, in one line."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
CRAFTED = runpy.run_path(str(HERE / "crafted_checkpoints.py"))
HARMLESS = "a numeric dtype that its state turns into one of objects"
# All entries in one process: starting one takes longer than refusing a file. A crash ends it before it prints.
ENTRIES = """
import contextlib, io, json, runpy, shutil, sys, warnings
from pathlib import Path
from imsvd_plugins.cli import main

warnings.simplefilter("ignore")
file, config = Path("file.pth").absolute(), sys.argv[1]
digits, probe = "imsvd_resnet14-w24_1xb256-coslr-60e_digits", "resnet14-w24_1xb256-linear-coslr-30e_digits"

def work(folder, name):
    Path(folder, name).parent.mkdir(parents=True)
    shutil.copy(file, Path(folder, name))
    Path(folder, "last_checkpoint").write_text(str(Path(folder, name).absolute()))
    return folder

entries = {
    "test": ["test", "resnet14-w24_1xb256-knn_digits", file, "--work-dir", "test"],
    "train --resume": ["train", digits, "--resume", "--work-dir", work("resume", "epoch_1.pth")],
    "load_from": ["train", digits, "--work-dir", "load_from", "--cfg-options", f"load_from={file}"],
    "init_cfg": ["train", probe, "--work-dir", "probe", "--cfg-options", f"model.backbone.init_cfg.checkpoint={file}"],
    "export": ["export", file, "--format", "torchvision", "--output", "exported.pth"],
    "embed": ["embed", file, "digits:test", "--out", "embedded.npz"],
    "embed --config": ["embed", file, "digits:test", "--out", "embedded.npz", "--config", digits],
    "lightly --ckpt_path": ["lightly", "fit", "--config", config, "--ckpt_path", file],
    "demo --resume": ["demo", "--resume", "--work-dir", work("demo", "epoch_1.pth")],
    "demo --resume, Lightly": [
        "demo", "--host", "lightly", "--resume", "--work-dir", work("lightly", "checkpoints/last.ckpt")
    ],
}
seen = {}
for name, arguments in entries.items():
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            status = main(list(map(str, arguments)))
        except SystemExit as stopped:
            status = stopped.code
            if isinstance(status, str):
                print(status)
    seen[name] = (status, [line for line in output.getvalue().splitlines() if line.strip()][-1])
print(json.dumps(seen))
"""


def run_entries(payload, folder):
    CRAFTED["write"](folder / "file.pth", CRAFTED["PAYLOADS"][payload])
    config = HERE.parent / "lightly_examples" / "configs" / "imsvd_digits.yaml"
    finished = subprocess.run(
        [sys.executable, "-c", ENTRIES, config], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, f"status {finished.returncode}\n{finished.stderr}"
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "payload",
    [
        "an array of objects over bytes of its choice",
        *(pytest.param(name, marks=pytest.mark.slow) for name in list(CRAFTED["PAYLOADS"])[1:] if name != HARMLESS),
    ],
)
def test_every_entry_refuses_it_in_a_line(payload, tmp_path):
    for entry, (status, line) in run_entries(payload, tmp_path).items():
        assert status not in (0, None), (entry, line)
        # The file was opened, and refused for what is in it.
        read_by_us = entry.startswith(("embed", "export"))
        refusal = "no backbone|no tensors|without running code" if read_by_us else "holds more than data"
        assert re.search(refusal, line), (entry, line)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "embedded.npz").exists()


@pytest.mark.parametrize("payload", CRAFTED["PAYLOADS"])
def test_the_stand_ins_for_mmengines_classes_make_numbers_and_nothing_else(payload, tmp_path):
    from imsvd_plugins.openmmlab.compatibility.safe_globals import STAND_INS, _Dtype

    file = CRAFTED["write"](tmp_path / "file.pth", CRAFTED["PAYLOADS"][payload])
    with torch.serialization.safe_globals(STAND_INS):
        try:
            loaded = torch.load(file)
        except Exception as error:
            assert type(error).__name__ == "UnpicklingError", error  # noqa: PT017
        else:
            # Its state made nothing else of it.
            assert payload == HARMLESS
            assert isinstance(loaded["state_dict"]["backbone.weight"], _Dtype)
            assert loaded["state_dict"]["backbone.weight"].code == "f8"
