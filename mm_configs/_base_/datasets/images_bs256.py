# Two views of the images of any folder, for pretraining without labels.
# --cfg-options data_root=FOLDER is all that it needs; see docs/how-to/images.md.
_base_ = "./imagenet_bs32_byol.py"

# CheckedRunner gives these three to each dataset below.
data_root = None
# Optional: a folder with a sub-folder for each class. It switches kNN on.
labelled_root = None
# Each image is decoded once before the training starts; False trusts them.
check_images = True

load_image = dict(type="imsvd_plugins.LoadImage")
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    # The objective is a statistic of the batch: no small last one.
    batch_sampler=dict(drop_last=True),
    dataset=dict(
        _delete_=True,
        type="imsvd_plugins.ImageFolder",
        pipeline=[load_image, *_base_.train_dataloader.dataset.pipeline[1:]],
    ),
)

knn_dataset = dict(
    type="imsvd_plugins.LabelledImageFolder",
    pipeline=[load_image, *_base_.test_pipeline[1:]],
)
custom_hooks = [
    dict(type="imsvd_plugins.RepresentationHook", interval=5),
    # Left out where there is no labelled_root.
    dict(
        type="imsvd_plugins.KNNEvalHook",
        interval=10,
        k=20,
        temperature=0.07,
        train_dataloader=dict(batch_size=256, num_workers=4, dataset=dict(knn_dataset, split="train")),
        test_dataloader=dict(batch_size=256, num_workers=4, dataset=dict(knn_dataset, split="test")),
    ),
]
# kNN of a finished checkpoint; mmpretrain's FeatureExtractor takes the images' pipeline from here too.
test_dataloader = dict(batch_size=256, num_workers=4, dataset=dict(knn_dataset, _delete_=True, split="test"))
test_cfg = dict(
    train_dataloader=dict(batch_size=256, num_workers=4, dataset=dict(knn_dataset, _delete_=True, split="train"))
)
