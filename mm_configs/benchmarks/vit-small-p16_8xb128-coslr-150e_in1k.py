# Fine-tuning of a ViT-S/16 on ImageNet: mmpretrain's recipe for MoCo v3's ViT-B/16, our choice for both methods.
_base_ = [
    "mmpretrain::mocov3/benchmarks/vit-base-p16_8xb64-coslr-150e_in1k.py",
]

train_dataloader = dict(batch_size=128)

# Give the pretraining's checkpoint: --cfg-options model.backbone.init_cfg.checkpoint=...
# The heads' number and size are those of the pretraining's backbone.
model = dict(
    backbone=dict(type="MoCoV3ViT", arch="mocov3-small"),
    head=dict(in_channels=384),
)

# 5e-4 * 1024 / 512
optim_wrapper = dict(optimizer=dict(lr=1e-3))
# The base's, but they take their length from `train_cfg.max_epochs`.
param_scheduler = [
    dict(type="imsvd_plugins.WarmUpLR", warm_up=5, start_factor=1e-3, convert_to_iter_based=True),
    dict(type="imsvd_plugins.CosineAfterWarmUpLR", warm_up=5, eta_min=1e-5, convert_to_iter_based=True),
]
custom_imports = dict(imports=["imsvd_plugins.openmmlab"])
# Every program can load the checkpoints.
default_hooks = dict(plain_checkpoint=dict(type="imsvd_plugins.PlainCheckpointHook"))
runner_type = "imsvd_plugins.CheckedRunner"

auto_scale_lr = dict(base_batch_size=1024)
