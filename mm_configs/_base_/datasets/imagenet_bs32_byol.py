# BYOL's two asymmetric views of ImageNet: mmpretrain's imagenet_bs32_byol.py with torchvision's colour jitter, because
# mmcv's cannot change the hue under numpy 2.
data_preprocessor = dict(
    type="SelfSupDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
)

crop_and_colour = [
    dict(type="RandomResizedCrop", scale=224, interpolation="bicubic", backend="pillow"),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="RandomApply",
        transforms=[
            dict(type="NumpyToPIL", to_rgb=True),
            dict(type="torchvision/ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1),
            dict(type="PILToNumpy", to_bgr=True),
        ],
        prob=0.8,
    ),
    dict(type="RandomGrayscale", prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989)),
]
view_pipeline1 = [
    *crop_and_colour,
    dict(type="GaussianBlur", magnitude_range=(0.1, 2.0), magnitude_std="inf", prob=1.0),
    dict(type="Solarize", thr=128, prob=0.0),
]
view_pipeline2 = [
    *crop_and_colour,
    dict(type="GaussianBlur", magnitude_range=(0.1, 2.0), magnitude_std="inf", prob=0.1),
    dict(type="Solarize", thr=128, prob=0.2),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    # Views are a function of seed, epoch and place: exact resume, with any number of workers.
    batch_sampler=dict(type="imsvd_plugins.SeededBatchSampler", drop_last=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="ImageNet",
        data_root="data/imagenet/",
        split="train",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="MultiView", num_views=[1, 1], transforms=[view_pipeline1, view_pipeline2]),
            dict(type="PackInputs"),
        ],
    ),
)

# kNN of a finished checkpoint; mmpretrain's FeatureExtractor takes the images' pipeline from here too.
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
knn_dataset = dict(type="ImageNet", data_root="data/imagenet/", pipeline=test_pipeline)
test_dataloader = dict(batch_size=32, num_workers=4, dataset=dict(knn_dataset, split="val"))
test_evaluator = []
test_cfg = dict(
    type="imsvd_plugins.KNNLoop",
    k=20,
    temperature=0.07,
    train_dataloader=dict(batch_size=32, num_workers=4, dataset=dict(knn_dataset, split="train")),
)
