# A linear probe of a ViT-S/16 on ImageNet: mmpretrain's for MoCo v3, our choice for both methods.
_base_ = [
    "mmpretrain::mocov3/benchmarks/vit-small-p16_8xb128-linear-coslr-90e_in1k.py",
]

# Give the pretraining's checkpoint: --cfg-options model.backbone.init_cfg.checkpoint=...
# The base's, but it takes its length from `train_cfg.max_epochs`.
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True)]
custom_imports = dict(imports=["imsvd_plugins.openmmlab"])
# Every program can load the checkpoints.
default_hooks = dict(plain_checkpoint=dict(type="imsvd_plugins.PlainCheckpointHook"))
runner_type = "imsvd_plugins.CheckedRunner"

auto_scale_lr = dict(base_batch_size=1024)
