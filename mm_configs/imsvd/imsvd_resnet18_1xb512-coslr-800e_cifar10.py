# The paper's CIFAR-10 recipe: 800 epochs, batch 512.
_base_ = [
    "../_base_/datasets/cifar10_bs512_simclr.py",
    "../_base_/default_runtime.py",
]

# K = 32 bins for each of M = 32 variables. ResNet_CIFAR has the 3 x 3 stem without max-pooling.
model = dict(
    type="IMSVD",
    backbone=dict(type="ResNet_CIFAR", depth=18),
    neck=dict(
        type="NonLinearNeck",
        in_channels=512,
        hid_channels=1024,
        out_channels=1024,
        num_layers=3,
        with_bias=True,
        with_last_bias=False,
        with_last_bn=False,
        with_avg_pool=True,
    ),
    head=dict(type="IMSVDHead", loss=dict(type="IMSVDLoss", num_bins=32)),
)

# 0.1 * 512 / 256
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=5e-4))

# The paper does not say where the warm-up starts: 1e-4 of the peak is our choice.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        T_max=790,
        eta_min=0.0002,
        by_epoch=True,
        begin=10,
        end=800,
        convert_to_iter_based=True,
    ),
]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=800)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))

auto_scale_lr = dict(base_batch_size=512)
