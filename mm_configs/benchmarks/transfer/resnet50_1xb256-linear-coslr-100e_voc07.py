# Transfer to Pascal VOC 2007 by a linear probe: our choice.
_base_ = [
    "../../_base_/models/resnet50_frozen.py",
    "../../_base_/datasets/transfer/voc07.py",
    "../../_base_/schedules/linear_sgd_coslr_100e.py",
    "../../_base_/benchmark_runtime.py",
]

model = dict(head=dict(_delete_=True, type="MultiLabelLinearClsHead", num_classes=20, in_channels=2048))
