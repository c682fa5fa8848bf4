# DTD, 47 classes.
_base_ = "./transfer_bs256.py"

data_preprocessor = dict(num_classes=47)

dataset = dict(type="DTD", data_root="data/dtd")
train_dataloader = dict(dataset=dict(dataset, split="trainval"))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
