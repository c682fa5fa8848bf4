# Food-101, 101 classes.
_base_ = "./transfer_bs256.py"

data_preprocessor = dict(num_classes=101)

dataset = dict(type="Food101", data_root="data/food-101")
train_dataloader = dict(dataset=dict(dataset, split="train"))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
