# The paper's linear probe on CIFAR-10. Momentum 0.9 and the views are our choice.
_base_ = [
    "mmpretrain::_base_/models/resnet18_cifar.py",
    "mmpretrain::_base_/datasets/cifar10_bs16.py",
    "../../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=256)

# Give the pretraining's checkpoint: --cfg-options model.backbone.init_cfg.checkpoint=...
model = dict(backbone=dict(frozen_stages=4, init_cfg=dict(type="Pretrained", checkpoint="", prefix="backbone.")))

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=30.0, momentum=0.9, weight_decay=0.0))
# Of 100 epochs: with another `train_cfg.max_epochs` give other `param_scheduler.0.milestones` too.
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[60, 80], gamma=0.1)]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=100)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))

auto_scale_lr = dict(base_batch_size=256)
