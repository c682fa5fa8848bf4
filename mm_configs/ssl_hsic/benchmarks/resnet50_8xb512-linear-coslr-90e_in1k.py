# The paper's linear probe on ImageNet: global batch 4096, 100 steps of warm-up.
# Momentum 0.9, no decay and the cosine are our choice.
_base_ = [
    "../../_base_/models/resnet50_frozen.py",
    "mmpretrain::_base_/datasets/imagenet_bs32_pil_resize.py",
    "../../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=512)

# 0.5 * 4096 / 256
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=8.0, momentum=0.9, weight_decay=0.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True),
]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=90)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))

auto_scale_lr = dict(base_batch_size=4096)
