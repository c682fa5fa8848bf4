# Stanford Cars, 196 classes.
_base_ = "./transfer_bs256.py"

data_preprocessor = dict(num_classes=196)

dataset = dict(type="StanfordCars", data_root="data/Stanford_Cars")
train_dataloader = dict(dataset=dict(dataset, split="train"))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
