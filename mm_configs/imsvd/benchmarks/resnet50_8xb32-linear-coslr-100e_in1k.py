# The paper's linear probe on ImageNet: global batch 256. Momentum 0.9 is our choice.
_base_ = [
    "../../_base_/models/resnet50_frozen.py",
    "mmpretrain::_base_/datasets/imagenet_bs32_pil_resize.py",
    "../../_base_/schedules/linear_sgd_coslr_100e.py",
    "../../_base_/default_runtime.py",
]

optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=1e-6))

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
