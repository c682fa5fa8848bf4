# The paper's ImageNet recipe: 100 epochs, global batch 2048.
_base_ = [
    "../_base_/datasets/imagenet_bs32_byol.py",
    "../_base_/schedules/lars.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=256)

# K = 80 bins for each of M = 102 variables.
model = dict(
    type="imsvd_plugins.IMSVD",
    backbone=dict(type="ResNet", depth=50, norm_cfg=dict(type="SyncBN"), zero_init_residual=True),
    neck=dict(
        type="NonLinearNeck",
        in_channels=2048,
        hid_channels=8192,
        out_channels=8160,
        num_layers=2,
        with_bias=True,
        with_last_bias=False,
        with_last_bn=False,
        with_avg_pool=True,
    ),
    head=dict(type="imsvd_plugins.IMSVDHead", loss=dict(type="imsvd_plugins.IMSVDLoss", num_bins=80)),
)

# 0.6 * 2048 / 256
optim_wrapper = dict(optimizer=dict(lr=4.8))

# The paper does not say where the warm-up starts: 1e-4 of the peak is our choice.
# Both take their length from the training, so another `train_cfg.max_epochs` needs no other change.
param_scheduler = [
    dict(type="imsvd_plugins.WarmUpLR", warm_up=10, start_factor=1e-4, convert_to_iter_based=True),
    dict(type="imsvd_plugins.CosineAfterWarmUpLR", warm_up=10, eta_min_ratio=0.001, convert_to_iter_based=True),
]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=100)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))

auto_scale_lr = dict(base_batch_size=2048)
