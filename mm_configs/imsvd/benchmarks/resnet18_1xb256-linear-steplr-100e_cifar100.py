# The paper's linear probe for CIFAR-10 on CIFAR-100: our choice.
_base_ = "./resnet18_1xb256-linear-steplr-100e_cifar10.py"

data_preprocessor = dict(num_classes=100, mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418])
cifar100 = dict(type="CIFAR100", data_root="data/cifar100/")
train_dataloader = dict(dataset=cifar100)
val_dataloader = dict(dataset=cifar100)
test_dataloader = dict(dataset=cifar100)

model = dict(head=dict(num_classes=100))
