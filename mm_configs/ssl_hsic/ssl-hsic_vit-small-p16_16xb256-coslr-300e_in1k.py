# SSL-HSIC with a ViT-S/16: our choice, after MoCo v3. What belongs to the method is the paper's.
_base_ = [
    "../_base_/models/ssl-hsic_resnet50.py",
    "../_base_/datasets/imagenet_bs32_byol.py",
    "../_base_/vit-small-p16_coslr-300e.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=256)

model = dict(
    backbone=dict(_delete_=True, **_base_.backbone),
    neck=dict(in_channels=384, with_avg_pool=False),
)

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))

# The paper evaluates weights averaged at 0.999; mmengine counts the share of the new weights. The average is the
# checkpoints' `state_dict`, and so what the benchmarks take; resuming restores both.
custom_hooks = [dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.001)]

auto_scale_lr = dict(base_batch_size=4096)
