# SSL-HSIC on ImageNet-100 with one GPU and a target network: our choice.
# The head is the paper's, the schedule that of IMSVD's CIFAR-10 recipe but for its rate: the gradient of HSIC is about
# ten times smaller, and SGD, unlike LARS, does not make up for that.
_base_ = [
    "../_base_/models/ssl-hsic_resnet50.py",
    "../_base_/datasets/imagenet100_bs256_byol.py",
    "../_base_/schedules/sgd_coslr_800e.py",
    "../_base_/default_runtime.py",
]

optim_wrapper = dict(optimizer=dict(lr=1.0))
model = dict(backbone=dict(depth=18), neck=dict(in_channels=512))

train_cfg = dict(max_epochs=200)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
