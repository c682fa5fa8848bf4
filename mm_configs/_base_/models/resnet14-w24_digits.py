# A narrow ResNet of three stages, fast enough for a CPU, and a projector. All numbers are this package's choice.
model = dict(
    backbone=dict(
        type="ResNet_CIFAR",
        depth=18,
        stem_channels=16,
        base_channels=24,
        num_stages=3,
        strides=(2, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
    ),
    neck=dict(
        type="NonLinearNeck",
        in_channels=96,
        hid_channels=512,
        out_channels=512,
        num_layers=2,
        with_bias=True,
        with_last_bn=False,
    ),
)
