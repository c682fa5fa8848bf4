# The paper's linear probe on ImageNet: global batch 256. Momentum 0.9 is our choice.
_base_ = [
    "mmpretrain::_base_/models/resnet50.py",
    "mmpretrain::_base_/datasets/imagenet_bs32_pil_resize.py",
    "mmpretrain::_base_/schedules/imagenet_sgd_coslr_100e.py",
    "../../_base_/default_runtime.py",
]

# Give the pretraining's checkpoint: --cfg-options model.backbone.init_cfg.checkpoint=...
model = dict(backbone=dict(frozen_stages=4, init_cfg=dict(type="Pretrained", checkpoint="", prefix="backbone.")))

optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=1e-6))

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
