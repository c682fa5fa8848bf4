# IMSVD with a ViT-S/16: our choice, after MoCo v3. What belongs to the method is the paper's.
_base_ = [
    "../_base_/datasets/imagenet_bs32_byol.py",
    "../_base_/vit-small-p16_coslr-300e.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=256)

# K = 80 bins for each of M = 102 variables.
model = dict(
    type="imsvd_plugins.IMSVD",
    backbone=_base_.backbone,
    neck=dict(
        type="NonLinearNeck",
        in_channels=384,
        hid_channels=8192,
        out_channels=8160,
        num_layers=2,
        with_bias=True,
        with_last_bias=False,
        with_last_bn=False,
        with_avg_pool=False,
    ),
    head=dict(type="imsvd_plugins.IMSVDHead", loss=dict(type="imsvd_plugins.IMSVDLoss", num_bins=80)),
)

# 2.4e-3 * 2048 / 4096
optim_wrapper = dict(optimizer=dict(lr=1.2e-3))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))

auto_scale_lr = dict(base_batch_size=2048)
