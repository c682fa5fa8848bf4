# IMSVD of six views on Imagenette with one GPU: our choice. Every pair of views has its term in the loss.
# Two views of 128 pixels as without multi-crop, and four of 96; shares of the image as in SwAV, 0.14-1 and 0.05-0.14.
_base_ = "./imsvd_resnet18_1xb256-coslr-800e_imagenette.py"

load, views, pack = _base_.train_dataloader.dataset.pipeline
for large in views.transforms:
    large[0].crop_ratio_range = (0.14, 1.0)
small = [dict(views.transforms[1][0], scale=96, crop_ratio_range=(0.05, 0.14)), *views.transforms[1][1:]]
pipeline = [load, dict(type="MultiView", num_views=[1, 1, 4], transforms=[*views.transforms, small]), pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
del load, views, pack, large, small, pipeline
