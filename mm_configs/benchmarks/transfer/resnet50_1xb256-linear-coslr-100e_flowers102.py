# Transfer to Oxford Flowers-102 by a linear probe: our choice.
_base_ = [
    "../../_base_/models/resnet50_frozen.py",
    "../../_base_/datasets/transfer/flowers102.py",
    "../../_base_/schedules/linear_sgd_coslr_100e.py",
    "../../_base_/benchmark_runtime.py",
]

model = dict(head=dict(num_classes=102))
