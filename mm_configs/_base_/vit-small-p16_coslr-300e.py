# What pretraining a ViT-S/16 needs beside the method: MoCo v3's recipe, our choice for both methods.
backbone = dict(type="MoCoV3ViT", arch="mocov3-small", img_size=224, patch_size=16, stop_grad_conv1=True)

# The rate is for a batch of 4096. No decay of biases and norms.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2.4e-3, weight_decay=0.1),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={"cls_token": dict(decay_mult=0.0)}),
)
param_scheduler = [
    dict(type="imsvd_plugins.WarmUpLR", warm_up=40, start_factor=1e-4, convert_to_iter_based=True),
    dict(type="imsvd_plugins.CosineAfterWarmUpLR", warm_up=40, convert_to_iter_based=True),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=300)

# The position embedding is frozen after the model has been wrapped for several devices.
find_unused_parameters = True
