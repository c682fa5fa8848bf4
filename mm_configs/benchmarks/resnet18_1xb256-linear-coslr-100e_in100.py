# A linear probe on ImageNet-100, of either method's pretraining: our choice.
_base_ = [
    "mmpretrain::_base_/models/resnet18.py",
    "../_base_/datasets/transfer/transfer_bs256.py",
    "../_base_/schedules/linear_sgd_coslr_100e.py",
    "../_base_/benchmark_runtime.py",
]

# Give the pretraining's checkpoint: --cfg-options model.backbone.init_cfg.checkpoint=...
model = dict(
    backbone=dict(frozen_stages=4, init_cfg=dict(type="Pretrained", checkpoint="", prefix="backbone.")),
    head=dict(num_classes=100),
)

dataset = dict(type="CustomDataset", data_root="data/imagenet100/")
train_dataloader = dict(dataset=dict(dataset, data_prefix="train"))
val_dataloader = dict(
    dataset=dict(dataset, _delete_=True, data_prefix="val", pipeline=_base_.val_dataloader.dataset.pipeline)
)
test_dataloader = val_dataloader
