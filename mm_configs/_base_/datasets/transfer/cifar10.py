# CIFAR-10, enlarged to ImageNet's size. The images come decoded, in the order of RGB.
_base_ = "./transfer_bs256.py"

data_preprocessor = dict(num_classes=10, to_rgb=False)

dataset = dict(type="CIFAR10", data_root="data/cifar10/")
train_dataloader = dict(dataset=dict(dataset, split="train", pipeline=_base_.train_views))
val_dataloader = dict(dataset=dict(dataset, pipeline=_base_.test_views))
test_dataloader = val_dataloader
