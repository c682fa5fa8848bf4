# IMSVD on Imagenette with one GPU: our choice.
# The schedule is that of the paper's CIFAR-10 recipe.
_base_ = [
    "../_base_/models/imsvd_resnet18.py",
    "../_base_/datasets/imagenette_bs256_byol.py",
    "../_base_/schedules/sgd_coslr_800e.py",
    "../_base_/default_runtime.py",
]

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
