# SSL-HSIC with a ResNet-50 on a folder of images without labels, with four GPUs: our choice.
# The global batch is 256, as with the ResNet-18, and so is the rate.
_base_ = "./ssl-hsic_resnet18_1xb256-coslr-200e_images.py"

train_dataloader = dict(batch_size=64)
model = dict(backbone=dict(depth=50), neck=dict(in_channels=2048))
