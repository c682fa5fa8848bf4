# Scikit-learn's digits at 16 x 16: two views of each image for pretraining, and labelled images for kNN.
# All numbers are this package's choice. No flips: a mirrored digit is another sign.
data_preprocessor = dict(type="SelfSupDataPreprocessor", mean=[78.0] * 3, std=[96.0] * 3)

view_pipeline = [
    dict(type="RandomResizedCrop", scale=16, crop_ratio_range=(0.5, 1.0), backend="cv2"),
    dict(
        type="Rotate",
        magnitude_range=(0, 15),
        magnitude_std="inf",
        prob=0.8,
        random_negative_prob=0.5,
        pad_val=0,
        interpolation="bilinear",
    ),
    dict(type="Brightness", magnitude_range=(0, 0.4), magnitude_std="inf", prob=0.8, random_negative_prob=0.5),
]
train_dataloader = dict(
    batch_size=256,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    # Views are a function of seed, epoch and place: exact resume, with any number of workers.
    batch_sampler=dict(type="imsvd_plugins.SeededBatchSampler", drop_last=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="imsvd_plugins.Digits",
        split="train",
        size=16,
        pipeline=[
            dict(type="MultiView", num_views=[2], transforms=[view_pipeline]),
            dict(type="PackInputs"),
        ],
    ),
)

knn_dataset = dict(type="imsvd_plugins.Digits", size=16, pipeline=[dict(type="PackInputs")])
custom_hooks = [
    dict(
        type="imsvd_plugins.KNNEvalHook",
        interval=1,
        train_dataloader=dict(batch_size=256, num_workers=0, dataset=dict(knn_dataset, split="train")),
        test_dataloader=dict(batch_size=256, num_workers=0, dataset=dict(knn_dataset, split="test")),
    ),
    dict(type="imsvd_plugins.RepresentationHook", interval=10),
]

# kNN of a finished checkpoint; mmpretrain's FeatureExtractor takes the images' pipeline from here too.
test_dataloader = dict(batch_size=256, num_workers=0, persistent_workers=False, dataset=dict(knn_dataset, split="test"))
test_evaluator = []
test_cfg = dict(
    type="imsvd_plugins.KNNLoop",
    k=20,
    temperature=0.07,
    train_dataloader=dict(batch_size=256, num_workers=0, dataset=dict(knn_dataset, split="train")),
)
