"""Our parts in a new-style config, which names classes and no types."""

from mmengine.config import Config

LAZY = """
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.datasets import MultiView, PackInputs, RandomResizedCrop
from mmpretrain.models import NonLinearNeck, ResNet, SelfSupDataPreprocessor
from torch.optim import SGD

from imsvd_plugins.openmmlab import Digits, IMSVD, IMSVDHead, IMSVDLoss, RepresentationHook

default_scope = "mmpretrain"
model = dict(
    type=IMSVD,
    backbone=dict(type=ResNet, depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type="BN")),
    neck=dict(type=NonLinearNeck, in_channels=64, hid_channels=16, out_channels=16),
    head=dict(type=IMSVDHead, loss=dict(type=IMSVDLoss, num_bins=4)),
    data_preprocessor=dict(type=SelfSupDataPreprocessor, mean=[78.0] * 3, std=[96.0] * 3),
)
views = [dict(type=RandomResizedCrop, scale=32)]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(
        type=Digits,
        indices=16,
        pipeline=[dict(type=MultiView, num_views=[2], transforms=[views]), dict(type=PackInputs)],
    ),
)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.1))
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=1)
custom_hooks = [dict(type=RepresentationHook, num_samples=16)]
default_hooks = dict(checkpoint=dict(type=CheckpointHook, interval=1))
"""


def test_a_pure_python_config_trains(tmp_path, run):
    (tmp_path / "lazy.py").write_text(LAZY)
    runner = run(Config.fromfile(tmp_path / "lazy.py"))
    assert runner.iter == 2
    assert runner.message_hub.get_scalar("metrics/rankme").current() >= 1
