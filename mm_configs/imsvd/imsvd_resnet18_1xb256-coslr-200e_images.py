# IMSVD on a folder of images without labels, with one GPU: our choice.
# The schedule is that of the paper's CIFAR-10 recipe.
_base_ = [
    "../_base_/models/imsvd_resnet18.py",
    "../_base_/datasets/images_bs256.py",
    "../_base_/schedules/sgd_coslr_800e.py",
    "../_base_/images_runtime.py",
]

train_cfg = dict(max_epochs=200)
