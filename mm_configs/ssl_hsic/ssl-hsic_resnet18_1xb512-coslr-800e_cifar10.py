# SSL-HSIC on CIFAR-10 with one GPU and a target network: our choice.
# The loss is the paper's, the backbone and the schedule are those of IMSVD's CIFAR-10 recipe but for the rate: the
# gradient of HSIC is about ten times smaller, and SGD, unlike LARS, does not make up for that.
_base_ = [
    "../_base_/models/ssl-hsic_resnet50.py",
    "../_base_/datasets/cifar10_bs512_simclr.py",
    "../_base_/schedules/sgd_coslr_800e.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(_delete_=True, type="ResNet_CIFAR", depth=18, zero_init_residual=False),
    neck=dict(in_channels=512, hid_channels=1024),
    head=dict(predictor=dict(hid_channels=1024)),
)

# 1.0 * 512 / 256
optim_wrapper = dict(optimizer=dict(lr=2.0))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))

auto_scale_lr = dict(base_batch_size=512)
