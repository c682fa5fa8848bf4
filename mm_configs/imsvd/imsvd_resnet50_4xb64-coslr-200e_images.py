# IMSVD with a ResNet-50 on a folder of images without labels, with four GPUs: our choice.
# The global batch is 256, as with the ResNet-18, and so are rate and bins.
_base_ = "./imsvd_resnet18_1xb256-coslr-200e_images.py"

train_dataloader = dict(batch_size=64)
model = dict(backbone=dict(depth=50, norm_cfg=dict(type="SyncBN")), neck=dict(in_channels=2048))
