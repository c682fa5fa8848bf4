# SUN397, 397 classes.
# The first of its ten official splits.
_base_ = "./transfer_bs256.py"

data_preprocessor = dict(num_classes=397)

dataset = dict(type="SUN397", data_root="data/SUN397")
train_dataloader = dict(dataset=dict(dataset, split="train"))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
