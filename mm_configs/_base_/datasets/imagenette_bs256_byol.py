# As for ImageNet-100, with Imagenette's images of 160 pixels (imagenette2-160) in views of 128.
_base_ = "./imagenet100_bs256_byol.py"

data_root = "data/imagenette2-160/"
views = _base_.train_dataloader.dataset.pipeline
for pipeline in views[1].transforms:
    pipeline[0].scale = 128
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=views))

custom_hooks = _base_.custom_hooks
for loader in (custom_hooks[0].train_dataloader, custom_hooks[0].test_dataloader):
    loader.dataset.data_root = data_root
    loader.dataset.pipeline[1].scale = 144
    loader.dataset.pipeline[2].crop_size = 128
test_dataloader = dict(dataset=custom_hooks[0].test_dataloader.dataset)
test_cfg = dict(train_dataloader=dict(dataset=custom_hooks[0].train_dataloader.dataset))
del pipeline, loader
