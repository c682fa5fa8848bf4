# SSL-HSIC on a folder of images without labels, with one GPU and a target network: our choice.
# The head is the paper's, the schedule that of IMSVD's CIFAR-10 recipe but for its rate: the gradient of HSIC is about
# ten times smaller, and SGD, unlike LARS, does not make up for that.
_base_ = [
    "../_base_/models/ssl-hsic_resnet50.py",
    "../_base_/datasets/images_bs256.py",
    "../_base_/schedules/sgd_coslr_800e.py",
    "../_base_/images_runtime.py",
]

optim_wrapper = dict(optimizer=dict(lr=1.0))
model = dict(backbone=dict(depth=18), neck=dict(in_channels=512))

train_cfg = dict(max_epochs=200)
