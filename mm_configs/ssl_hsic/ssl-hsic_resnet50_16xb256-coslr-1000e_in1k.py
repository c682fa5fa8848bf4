# The paper's ImageNet recipe, with a target network: 1000 epochs, global batch 4096.
# Not in the paper as we know it, so our choice, after BYOL: the two asymmetric views, SyncBN, which layers have a bias,
# no decay or adaptation of biases and norms, the warm-up's start and the cosine's end at 0.
_base_ = [
    "../_base_/datasets/imagenet_bs32_byol.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=256)

# base_momentum=0.01 is the paper's 0.99: mmpretrain counts the share of the new weights.
model = dict(
    type="SSLHSIC",
    base_momentum=0.01,
    backbone=dict(type="ResNet", depth=50, norm_cfg=dict(type="SyncBN"), zero_init_residual=False),
    neck=dict(
        type="NonLinearNeck",
        in_channels=2048,
        hid_channels=4096,
        out_channels=256,
        num_layers=2,
        with_bias=True,
        with_last_bn=False,
        with_avg_pool=True,
    ),
    head=dict(
        type="HSICHead",
        predictor=dict(
            type="NonLinearNeck",
            in_channels=256,
            hid_channels=4096,
            out_channels=256,
            num_layers=2,
            with_bias=True,
            with_last_bn=False,
            with_avg_pool=False,
        ),
        loss=dict(type="HSICLoss", kernel="imq", num_features=512, gamma=3.0),
    ),
)

# 0.4 * 4096 / 256
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="LARS", lr=6.4, momentum=0.9, weight_decay=1e-6, eta=1e-3),
    paramwise_cfg=dict(
        custom_keys={
            "bn": dict(decay_mult=0, lars_exclude=True),
            "bias": dict(decay_mult=0, lars_exclude=True),
            # The normalisation in a ResNet block's shortcut.
            "downsample.1": dict(decay_mult=0, lars_exclude=True),
        }
    ),
)

param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", T_max=990, by_epoch=True, begin=10, end=1000, convert_to_iter_based=True),
]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=1000)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))

# The paper evaluates weights averaged at 0.999. They are the `state_dict` of the checkpoints; resuming restores both.
custom_hooks = [dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.001)]

auto_scale_lr = dict(base_batch_size=4096)
