# Caltech-101, 102 classes.
# mmpretrain counts the background as a class, and offers the lists that the dataset has no official split for.
_base_ = "./transfer_mean_class_bs256.py"

data_preprocessor = dict(num_classes=102)

dataset = dict(type="Caltech101", data_root="data/caltech-101")
train_dataloader = dict(dataset=dict(dataset, split="train"))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
