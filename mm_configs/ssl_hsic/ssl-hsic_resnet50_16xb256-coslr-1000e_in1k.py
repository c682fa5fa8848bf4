# The paper's ImageNet recipe, with a target network: 1000 epochs, global batch 4096.
# Not in the paper as we know it, so our choice, after BYOL: the two asymmetric views, no decay or adaptation of biases
# and norms, the warm-up's start and the cosine's end at 0.
_base_ = [
    "../_base_/models/ssl-hsic_resnet50.py",
    "../_base_/datasets/imagenet_bs32_byol.py",
    "../_base_/schedules/lars.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=256)

# 0.4 * 4096 / 256
optim_wrapper = dict(optimizer=dict(lr=6.4))

# Both take their length from the training, so another `train_cfg.max_epochs` needs no other change.
param_scheduler = [
    dict(type="imsvd_plugins.WarmUpLR", warm_up=10, start_factor=1e-4, convert_to_iter_based=True),
    dict(type="imsvd_plugins.CosineAfterWarmUpLR", warm_up=10, convert_to_iter_based=True),
]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=1000)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))

# The paper evaluates weights averaged at 0.999; mmengine counts the share of the new weights. The average is the
# checkpoints' `state_dict`, and so what the benchmarks take; resuming restores both.
custom_hooks = [dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.001)]

auto_scale_lr = dict(base_batch_size=4096)
