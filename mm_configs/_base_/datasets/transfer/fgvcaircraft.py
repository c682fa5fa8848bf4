# FGVC-Aircraft, 100 classes.
_base_ = "./transfer_mean_class_bs256.py"

data_preprocessor = dict(num_classes=100)

dataset = dict(type="FGVCAircraft", data_root="data/fgvc-aircraft-2013b")
train_dataloader = dict(dataset=dict(dataset, split="trainval"))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
