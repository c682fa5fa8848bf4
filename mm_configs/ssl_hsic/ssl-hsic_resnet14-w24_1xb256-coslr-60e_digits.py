# SSL-HSIC on scikit-learn's digits, without a target network: minutes on a CPU.
_base_ = [
    "../_base_/models/resnet14-w24_digits.py",
    "../_base_/datasets/digits_bs256.py",
    "../_base_/schedules/digits_adamw_coslr_60e.py",
    "../_base_/digits_runtime.py",
]

# Without the last normalisation the projections start out nearly equal, and without a target network they collapse.
model = dict(
    type="imsvd_plugins.SSLHSIC",
    base_momentum=None,
    neck=dict(out_channels=128, with_last_bn=True, with_last_bn_affine=False),
    head=dict(type="imsvd_plugins.HSICHead", loss=dict(type="imsvd_plugins.HSICLoss")),
)
