# SSL-HSIC on Imagenette with one GPU and a target network: our choice.
# The head is the paper's, the schedule that of IMSVD's CIFAR-10 recipe.
_base_ = [
    "../_base_/models/ssl-hsic_resnet50.py",
    "../_base_/datasets/imagenette_bs256_byol.py",
    "../_base_/schedules/sgd_coslr_800e.py",
    "../_base_/default_runtime.py",
]

model = dict(backbone=dict(depth=18), neck=dict(in_channels=512))

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
