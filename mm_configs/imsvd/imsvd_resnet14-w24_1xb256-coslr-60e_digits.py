# IMSVD on scikit-learn's digits: minutes on a CPU.
_base_ = [
    "../_base_/models/resnet14-w24_digits.py",
    "../_base_/datasets/digits_bs256.py",
    "../_base_/schedules/digits_adamw_coslr_60e.py",
    "../_base_/digits_runtime.py",
]

# K = 16 bins for each of M = 32 variables: off_diagonal cannot go below -log(256), which is -2 log(16).
model = dict(
    type="imsvd_plugins.IMSVD",
    head=dict(type="imsvd_plugins.IMSVDHead", loss=dict(type="imsvd_plugins.IMSVDLoss", num_bins=16)),
)
