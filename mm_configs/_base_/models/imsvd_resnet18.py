# IMSVD for a batch of 256 on one GPU. All numbers are our choice: with K = 16 bins off_diagonal's two bounds,
# -log(256) and -2 log(16), meet. With residuals that begin at zero, as the paper's for ResNet-50, it learned slower.
model = dict(
    type="imsvd_plugins.IMSVD",
    backbone=dict(type="ResNet", depth=18, zero_init_residual=False),
    neck=dict(
        type="NonLinearNeck",
        in_channels=512,
        hid_channels=2048,
        out_channels=2048,
        num_layers=2,
        with_bias=True,
        with_last_bias=False,
        with_last_bn=False,
        with_avg_pool=True,
    ),
    head=dict(type="imsvd_plugins.IMSVDHead", loss=dict(type="imsvd_plugins.IMSVDLoss", num_bins=16)),
)
