# A linear probe on Imagenette, of either method's pretraining: our choice.
_base_ = "./resnet18_1xb256-linear-coslr-100e_in100.py"

model = dict(head=dict(num_classes=10))

data_root = "data/imagenette2-160/"
train_views = _base_.train_dataloader.dataset.pipeline
train_views[1].scale = 128
test_views = _base_.val_dataloader.dataset.pipeline
test_views[1].scale = 144
test_views[2].crop_size = 128
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_views))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_views))
test_dataloader = val_dataloader
