# Oxford-IIIT Pets, 37 classes.
_base_ = "./transfer_mean_class_bs256.py"

data_preprocessor = dict(num_classes=37)

dataset = dict(type="OxfordIIITPet", data_root="data/Oxford-IIIT_Pets")
train_dataloader = dict(dataset=dict(dataset, split="trainval"))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
