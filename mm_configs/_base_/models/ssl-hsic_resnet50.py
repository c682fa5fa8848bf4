# The paper's network, with a target network. SyncBN and which layers have a bias are our choice, after BYOL.
# base_momentum=0.01 is the paper's 0.99: mmpretrain counts the share of the new weights.
model = dict(
    type="imsvd_plugins.SSLHSIC",
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
        type="imsvd_plugins.HSICHead",
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
        loss=dict(type="imsvd_plugins.HSICLoss", kernel="imq", num_features=512, gamma=3.0),
    ),
)
