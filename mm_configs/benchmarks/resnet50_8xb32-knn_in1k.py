# kNN on ImageNet by the features of a finished checkpoint, with IMSVD's k and T; for either method.
_base_ = "../_base_/default_runtime.py"

# Of a pretraining's checkpoint the backbone's weights alone have a place here.
model = dict(
    type="ImageClassifier",
    backbone=dict(type="ResNet", depth=50),
    neck=dict(type="GlobalAveragePooling"),
)

data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)

test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
dataset = dict(type="ImageNet", data_root="data/imagenet", pipeline=test_pipeline)
test_dataloader = dict(batch_size=32, num_workers=5, dataset=dict(dataset, split="val"))
test_evaluator = []
test_cfg = dict(
    type="imsvd_plugins.KNNLoop",
    k=20,
    temperature=0.07,
    train_dataloader=dict(batch_size=32, num_workers=5, dataset=dict(dataset, split="train")),
)
