# The paper's CIFAR-10 recipe: 800 epochs, batch 512.
_base_ = [
    "../_base_/models/imsvd_resnet18_cifar.py",
    "../_base_/datasets/cifar10_bs512_simclr.py",
    "../_base_/schedules/sgd_coslr_800e.py",
    "../_base_/default_runtime.py",
]

# 0.1 * 512 / 256
optim_wrapper = dict(optimizer=dict(lr=0.2))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))

auto_scale_lr = dict(base_batch_size=512)
