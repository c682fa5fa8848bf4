# K = 32 bins for each of M = 32 variables. ResNet_CIFAR has the 3 x 3 stem without max-pooling. The paper names
# zero-initialised residuals for ResNet-50 alone, and mmpretrain's default is to have them.
model = dict(
    type="imsvd_plugins.IMSVD",
    backbone=dict(type="ResNet_CIFAR", depth=18, zero_init_residual=False),
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
    head=dict(type="imsvd_plugins.IMSVDHead", loss=dict(type="imsvd_plugins.IMSVDLoss", num_bins=32)),
)
