"""`imsvd-plugins lightly` on two ranks: weights and logged figures are those of one process with the doubled batch."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

# A normalisation without batch statistics and views without chance: what each rank computes is then a part of what one
# process computes. The kernel's scale climbs by each rank's own pairs of rows, and so is held.
PARTS = """
import torch
from lightly.models.modules.heads import ProjectionHead
from pytorch_lightning import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from imsvd_plugins.lightly import HSICPredictionHead, HSICProjectionHead, IMSVDProjectionHead, KNNCallback


class Backbone(nn.Sequential):
    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 8, 3, stride=2), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))


def without_batch_norm(head):
    torch.manual_seed(1)
    ProjectionHead.__init__(head, [(8, 16, None, nn.ReLU()), (16, 8, None, None)])


class ImsvdHead(IMSVDProjectionHead):
    __init__ = without_batch_norm


class HsicHead(HSICProjectionHead):
    __init__ = without_batch_norm


class HsicPredictor(HSICPredictionHead):
    __init__ = without_batch_norm


class CheckedKNN(KNNCallback):
    def on_validation_batch_end(self, trainer, *arguments):
        super().on_validation_batch_end(trainer, *arguments)
        # The bank's 151 images do not come out even on two ranks, and yet each is there once, on one of them.
        own = range(trainer.global_rank, 151, trainer.world_size)
        features, labels = self._bank
        assert labels.tolist() == [index % 5 for index in own]
        assert features.shape == (len(own), 8)


class Data(LightningDataModule):
    num_classes = 5

    def __init__(self, batch_size_per_device: int = 8) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(160, 3, 12, 12, generator=generator)
        views = images + 0.2 * torch.randn(2, *images.shape, generator=generator)
        self.data = [([a, b], index % 5) for index, (a, b) in enumerate(zip(*views))]
        self.batch_size_per_device = batch_size_per_device

    def train_dataloader(self):
        # In its order: Lightning's own would shuffle, and on two ranks alone.
        sampler = DistributedSampler(self.data, self.trainer.world_size, self.trainer.global_rank, shuffle=False)
        return DataLoader(self.data, self.batch_size_per_device, sampler=sampler)

    def val_dataloader(self):
        return DataLoader([(views[1], label) for views, label in self.data], 16)

    def bank_dataloader(self):
        return DataLoader([(views[0], label) for views, label in self.data[:151]], 16)
"""
MODELS = {
    "imsvd": """
  class_path: imsvd_plugins.lightly.IMSVD
  init_args:
    projection_head: {class_path: parts.ImsvdHead}
    criterion: {class_path: imsvd_plugins.lightly.IMSVDLoss, init_args: {num_bins: 4, gather_distributed: true}}
""",
    "ssl_hsic": """
  class_path: imsvd_plugins.lightly.SSLHSIC
  init_args:
    projection_head: {class_path: parts.HsicHead}
    prediction_head: {class_path: parts.HsicPredictor}
    criterion:
      class_path: imsvd_plugins.lightly.HSICLoss
      init_args: {num_features: 32, learn_scale: false, gather_distributed: true}
""",
}
# It draws on one rank alone, and may hang where a rank asks for something that all must ask for.
CALLBACKS = {"imsvd": "    - class_path: imsvd_plugins.lightly.JointDistributionCallback\n", "ssl_hsic": ""}
RUN = """
trainer:
  accelerator: cpu
  max_steps: 10
  use_distributed_sampler: false
  logger: {{class_path: pytorch_lightning.loggers.CSVLogger, init_args: {{save_dir: ., name: ""}}}}
  log_every_n_steps: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: imsvd_plugins.lightly.RepresentationCallback
    - class_path: parts.CheckedKNN
{callbacks}model:{model}    backbone: {{class_path: parts.Backbone}}
    warmup_epochs: 0
    optimizer: {{class_path: torch.optim.SGD, init_args: {{lr: 0.1, momentum: 0.9}}}}
    lr_scheduler: {{class_path: torch.optim.lr_scheduler.StepLR, init_args: {{step_size: 100}}}}
data:
  class_path: parts.Data
"""


@pytest.mark.parametrize("method", ["imsvd", pytest.param("ssl_hsic", marks=pytest.mark.slow)])
def test_two_ranks_train_as_one_process_with_the_doubled_batch(method, tmp_path):
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "run.yaml").write_text(RUN.format(model=MODELS[method], callbacks=CALLBACKS[method]))
    states, figures, overviews = {}, {}, []
    for devices in (1, 2):
        root = tmp_path / f"{devices}_devices"
        settings = {
            "trainer.devices": str(devices),
            "trainer.strategy": "ddp" if devices > 1 else "auto",
            "trainer.default_root_dir": str(root),
            "trainer.logger.init_args.save_dir": str(root),
            "data.init_args.batch_size_per_device": str(16 // devices),
        }
        words = [
            "lightly",
            "fit",
            "--config",
            "run.yaml",
            *(word for key, value in settings.items() for word in (f"--{key}", value)),
        ]
        finished = subprocess.run(
            # By the installed command's own file: the launcher starts the other rank with it again.
            [sys.executable, str(Path(sys.executable).with_name("imsvd-plugins")), *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        checkpoint = torch.load(root / "checkpoints" / "last.ckpt", weights_only=True)
        assert checkpoint["global_step"] == 10
        states[devices] = checkpoint["state_dict"]
        drawn = [list((root / "version_0" / name).glob("*.png")) for name in ("joint_distribution", "overview")]
        assert [len(files) for files in drawn] == [method == "imsvd"] * 2
        overviews += [np.asarray(Image.open(file), dtype=float) for file in drawn[1]]
        with (root / "version_0" / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        figures[devices] = {
            key: float(row[key]) for row in rows for key in row if row[key] and not key.startswith("train_online")
        }
    trained = [name for name, value in states[1].items() if name.startswith(("backbone", "projection_head"))]
    assert trained
    for name in trained:
        torch.testing.assert_close(states[2][name], states[1][name], rtol=1e-5, atol=1e-6)
    # What a user reads too.
    assert {"val_knn_top1", "train_rankme", "train_uniformity", "train_loss"} <= figures[1].keys()
    # The two trainings' features differ in the last digits, which may tip one image's vote.
    votes = [figures[devices].pop("val_knn_top1") for devices in (1, 2)]
    assert votes[1] == pytest.approx(votes[0], abs=1.01 / 160)
    assert figures[2] == pytest.approx(figures[1], rel=1e-4, abs=1e-6)
    if overviews:
        # Of all ranks' images: a rank's own half would make another figure.
        assert np.abs(overviews[0] - overviews[1]).mean() < 1
