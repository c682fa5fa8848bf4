"""`imsvd-plugins train` and `test`: the config's name, and mmpretrain's own tool."""

import gc
import json
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from mmengine.config import Config

from imsvd_plugins.commands import train
from imsvd_plugins.openmmlab import shipped_configs

IMSVD = "imsvd_resnet14-w24_1xb256-coslr-60e_digits"
TINY = [
    "train_dataloader.batch_size=16",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "train_dataloader.dataset.indices=64",
    "custom_hooks.0.train_dataloader.dataset.indices=51",
    "custom_hooks.0.test_dataloader.dataset.indices=31",
    "train_cfg.max_epochs=1",
    "default_hooks.logger.interval=1",
]


@pytest.fixture
def tool(monkeypatch):
    """Records what is handed on to mmpretrain's tool."""
    calls = []
    monkeypatch.setattr(train.runpy, "run_path", lambda path, run_name: calls.append((Path(path), sys.argv[1:])))
    return calls


class TestConfigNames:
    @pytest.mark.parametrize("name", [IMSVD, f"{IMSVD}.py", f"imsvd/{IMSVD}", f"imsvd/{IMSVD}.py"])
    def test_a_shipped_config_is_found_by_name(self, name):
        path = shipped_configs.resolve_config(name)
        assert path.is_file()
        assert path.name == f"{IMSVD}.py"

    def test_a_path_is_taken_as_it_is(self, tmp_path):
        path = tmp_path / "mine.py"
        path.touch()
        assert shipped_configs.resolve_config(str(path)) == path

    def test_a_wrong_name_shows_close_ones_and_all_that_there_are(self, capsys):
        with pytest.raises(SystemExit) as error:
            train.main(["imsvd_resnet14-w24_1xb256-coslr-60e_digit"])
        # Python prints the message after the list.
        assert f"Did you mean {IMSVD}" in str(error.value)
        listed = capsys.readouterr().err
        assert all(name in listed for name in shipped_configs.shipped_configs())
        assert "_base_" not in listed

    def test_names_are_unique(self):
        root = Path(train.imsvd_plugins.__file__).parent / ".mim" / "configs"
        files = [path for path in root.rglob("*.py") if "_base_" not in path.parts]
        assert len(shipped_configs.shipped_configs()) == len(files)


class TestHandingOn:
    def test_everything_goes_to_mmpretrains_own_tool(self, tool):
        before = list(sys.argv)
        train.main([IMSVD, "--work-dir", "here", "--resume", "--cfg-options", "a=1"])
        [(path, argv)] = tool
        assert path.parts[-4:] == ("mmpretrain", ".mim", "tools", "train.py")
        assert argv == [
            str(shipped_configs.resolve_config(IMSVD)),
            "--work-dir",
            "here",
            "--resume",
            "--cfg-options",
            "a=1",
        ]
        assert sys.argv == before

    def test_the_test_tool_gets_the_checkpoint_too(self, tool):
        train.main([IMSVD, "epoch_1.pth", "--out", "here"], tool="test")
        [(path, argv)] = tool
        assert path.parts[-4:] == ("mmpretrain", ".mim", "tools", "test.py")
        assert argv == [str(shipped_configs.resolve_config(IMSVD)), "epoch_1.pth", "--out", "here"]

    def test_a_launchers_own_option_may_stand_in_front(self, tool):
        train.main(["--local-rank=0", IMSVD])
        assert tool[0][1] == ["--local-rank=0", str(shipped_configs.resolve_config(IMSVD))]

    @pytest.mark.parametrize("argv", [["--work-dir", "x", IMSVD], ["--resume"]])
    def test_options_before_the_config_are_refused(self, tool, argv):
        with pytest.raises(SystemExit, match=f"CONFIG must come first, got '{argv[0]}'"):
            train.main(argv)
        assert tool == []

    def test_a_rate_that_cannot_be_scaled_is_said_in_one_line(self, tool, tmp_path):
        config = config_file(tmp_path, "auto_scale_lr = dict(_delete_=True)")
        with pytest.raises(SystemExit, match=r"^imsvd-plugins train: --auto-scale-lr needs .* in tiny\.py, .*none\.$"):
            train.main([str(config), "--auto-scale-lr"])
        assert tool == []
        train.main([IMSVD, "--auto-scale-lr"])
        assert tool[0][1][-1] == "--auto-scale-lr"

    def test_help_is_ours_and_the_tools(self, capsys):
        with pytest.raises(SystemExit) as error:
            train.main(["--help"])
        shown = capsys.readouterr().out
        assert error.value.code == 0
        assert IMSVD in shown
        assert "--auto-scale-lr" in shown
        assert "_images train on any folder: --cfg-options data_root=FOLDER" in shown


def config_file(folder, lines=""):
    path = folder / "tiny.py"
    path.write_text(f"_base_ = {str(shipped_configs.resolve_config(IMSVD).resolve())!r}\n{lines}\n")
    return path


class TestSeveralCPUProcesses:
    def test_what_mmengine_would_have_applied_is_kept(self, tmp_path):
        assert "model_wrapper_cfg.find_unused_parameters=False" in train._cpu_options(
            Config.fromfile(config_file(tmp_path))
        )
        options = train._cpu_options(Config.fromfile(config_file(tmp_path, "find_unused_parameters = True")))
        assert "model_wrapper_cfg.find_unused_parameters=True" in options
        assert "model_wrapper_cfg.broadcast_buffers=False" in options

    def test_a_configs_own_wrapper_stays(self, tmp_path):
        path = config_file(tmp_path, "model_wrapper_cfg = dict(type='MMDistributedDataParallel')")
        options = train._cpu_options(Config.fromfile(path))
        assert not [option for option in options if "wrapper_cfg.type" in option]

    def test_nothing_holds_the_process_group_when_it_is_destroyed(self, monkeypatch):
        class Runner:
            def __init__(self):
                self.itself = self

        seen, alive = [], []
        monkeypatch.setattr(train.dist, "init_process_group", seen.append)
        monkeypatch.setattr(train.dist, "destroy_process_group", lambda: seen.append(alive[0]()))
        monkeypatch.setattr(train, "_run_tool", lambda tool, argv: alive.append(weakref.ref(Runner())))
        gc.disable()
        try:
            train.main([IMSVD, "--launcher", "pytorch"])
        finally:
            gc.enable()
        assert seen == ["gloo", None]

    def test_torchrun_trains_on_two_ranks(self, tmp_path):
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONFAULTHANDLER": "1"}
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
        command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
        command += ["-m", "imsvd_plugins.cli", "train", IMSVD, "--launcher", "pytorch", "--work-dir", str(tmp_path)]
        done = subprocess.run(
            [*command, "--cfg-options", *TINY], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        log = next(tmp_path.rglob("*.log")).read_text()
        assert "SyncBatchNorm cannot run on the CPU" in log
        # 64 images, 16 a rank: two iterations, which both ranks make together.
        assert re.search(r"Epoch\(train\) +\[1\]\[2/2\]", log)
        assert "Epoch(knn) [1]" in log
        lines = [json.loads(line) for line in next(tmp_path.rglob("scalars.json")).read_text().splitlines()]
        assert {"loss", "diagonal", "off_diagonal", "invariance"} <= set(lines[0])
        assert (tmp_path / "epoch_1.pth").is_file()
