# Transfer to Pascal VOC 2007 by fine-tuning: our choice.
_base_ = [
    "../../_base_/models/resnet50_pretrained.py",
    "../../_base_/datasets/transfer/voc07.py",
    "../../_base_/schedules/finetune_sgd_coslr_100e.py",
    "../../_base_/benchmark_runtime.py",
]

train_dataloader = dict(batch_size=64)
model = dict(head=dict(_delete_=True, type="MultiLabelLinearClsHead", num_classes=20, in_channels=2048))
