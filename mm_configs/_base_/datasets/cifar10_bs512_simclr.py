# Two views of CIFAR-10 images for pretraining, and labelled images for kNN.
# The normalisation is that of mmpretrain's cifar10_bs16.py, for images that are RGB already.
data_preprocessor = dict(
    type="SelfSupDataPreprocessor", mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255], to_rgb=False
)

# torchvision's transforms, because mmcv's take images for BGR.
view_pipeline = [
    dict(type="NumpyToPIL", to_rgb=False),
    dict(type="torchvision/RandomResizedCrop", size=32, scale=(0.2, 1.0)),
    dict(type="torchvision/RandomHorizontalFlip", p=0.5),
    dict(
        type="RandomApply",
        transforms=[dict(type="torchvision/ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
        prob=0.8,
    ),
    dict(type="torchvision/RandomGrayscale", p=0.2),
    dict(type="PILToNumpy", to_bgr=False),
]
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    # Views are a function of seed, epoch and place: exact resume, with any number of workers.
    # The objective is a statistic of the batch: no small last one.
    batch_sampler=dict(type="imsvd_plugins.SeededBatchSampler", drop_last=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="CIFAR10",
        data_root="data/cifar10/",
        split="train",
        pipeline=[
            dict(type="MultiView", num_views=[2], transforms=[view_pipeline]),
            dict(type="PackInputs"),
        ],
    ),
)

knn_dataset = dict(type="CIFAR10", data_root="data/cifar10/", pipeline=[dict(type="PackInputs")])
custom_hooks = [
    dict(
        type="imsvd_plugins.KNNEvalHook",
        interval=10,
        k=20,
        temperature=0.07,
        train_dataloader=dict(batch_size=512, num_workers=4, dataset=dict(knn_dataset, split="train")),
        test_dataloader=dict(batch_size=512, num_workers=4, dataset=dict(knn_dataset, split="test")),
    ),
]

# kNN of a finished checkpoint; mmpretrain's FeatureExtractor takes the images' pipeline from here too.
test_dataloader = dict(batch_size=512, num_workers=4, dataset=dict(knn_dataset, split="test"))
test_evaluator = []
test_cfg = dict(
    type="imsvd_plugins.KNNLoop",
    k=20,
    temperature=0.07,
    train_dataloader=dict(batch_size=512, num_workers=4, dataset=dict(knn_dataset, split="train")),
)
