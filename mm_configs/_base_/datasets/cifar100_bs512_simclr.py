# As for CIFAR-10, with the normalisation of mmpretrain's cifar100_bs16.py.
_base_ = "./cifar10_bs512_simclr.py"

data_preprocessor = dict(mean=[129.304, 124.070, 112.434], std=[68.170, 65.392, 70.418])

cifar100 = dict(type="CIFAR100", data_root="data/cifar100/")
train_dataloader = dict(dataset=cifar100)

custom_hooks = _base_.custom_hooks
custom_hooks[0].train_dataloader.dataset.update(cifar100)
custom_hooks[0].test_dataloader.dataset.update(cifar100)

test_dataloader = dict(dataset=cifar100)
test_cfg = dict(train_dataloader=dict(dataset=cifar100))
