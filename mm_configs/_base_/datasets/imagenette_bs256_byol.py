# As for ImageNet-100, with Imagenette's images of 160 pixels (imagenette2-160) in views of 128.
_base_ = "./imagenet100_bs256_byol.py"

data_root = "data/imagenette2-160/"
crop = dict(_base_.view_pipeline1[0], scale=128)
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(
                type="MultiView",
                num_views=[1, 1],
                transforms=[[crop, *_base_.view_pipeline1[1:]], [crop, *_base_.view_pipeline2[1:]]],
            ),
            dict(type="PackInputs"),
        ],
    )
)

test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=144, edge="short", backend="pillow"),
    dict(type="CenterCrop", crop_size=128),
    dict(type="PackInputs"),
]
knn_dataset = dict(type="CustomDataset", data_root=data_root, pipeline=test_pipeline)
custom_hooks = [
    dict(
        type="imsvd_plugins.KNNEvalHook",
        interval=10,
        k=20,
        temperature=0.07,
        train_dataloader=dict(batch_size=256, num_workers=8, dataset=dict(knn_dataset, data_prefix="train")),
        test_dataloader=dict(batch_size=256, num_workers=8, dataset=dict(knn_dataset, data_prefix="val")),
    ),
]
test_dataloader = dict(dataset=dict(knn_dataset, data_prefix="val"))
test_cfg = dict(train_dataloader=dict(dataset=dict(knn_dataset, data_prefix="train")))
