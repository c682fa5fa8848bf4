# IMSVD on a folder of 16-bit greyscale images, such as radiographs, with one GPU: our choice.
# --cfg-options data_root=FOLDER
_base_ = [
    "../_base_/models/imsvd_resnet18.py",
    "../_base_/datasets/16bit_bs256.py",
    "../_base_/schedules/sgd_coslr_800e.py",
    "../_base_/default_runtime.py",
]

model = dict(backbone=dict(in_channels=1))
train_cfg = dict(max_epochs=200)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3, save_best="rankme", rule="greater"))
