# LARS of both papers, whose learning rates differ. Biases and norms without decay or adaptation, as IMSVD says.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="LARS", momentum=0.9, weight_decay=1e-6, eta=1e-3),
    paramwise_cfg=dict(
        custom_keys={
            "bn": dict(decay_mult=0, lars_exclude=True),
            "bias": dict(decay_mult=0, lars_exclude=True),
            # The normalisation in a ResNet block's shortcut.
            "downsample.1": dict(decay_mult=0, lars_exclude=True),
        }
    ),
)
