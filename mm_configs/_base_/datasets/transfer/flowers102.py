# Oxford Flowers-102, 102 classes.
_base_ = "./transfer_mean_class_bs256.py"

data_preprocessor = dict(num_classes=102)

dataset = dict(type="Flowers102", data_root="data/Flowers102")
train_dataloader = dict(dataset=dict(dataset, split="trainval"))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
