# Two views of ImageNet-100's images for pretraining on one GPU, and labelled images for kNN.
# A folder per class in data/imagenet100/train and .../val, as of ImageNet.
_base_ = "./imagenet_bs32_byol.py"

data_root = "data/imagenet100/"
train_dataloader = dict(
    batch_size=256,
    num_workers=16,
    # The objective is a statistic of the batch: no small last one.
    batch_sampler=dict(drop_last=True),
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root=data_root,
        data_prefix="train",
        pipeline=_base_.train_dataloader.dataset.pipeline,
    ),
)

knn_dataset = dict(type="CustomDataset", data_root=data_root, pipeline=_base_.test_pipeline)
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

test_dataloader = dict(batch_size=256, num_workers=8, dataset=dict(knn_dataset, _delete_=True, data_prefix="val"))
test_cfg = dict(
    train_dataloader=dict(batch_size=256, num_workers=8, dataset=dict(knn_dataset, _delete_=True, data_prefix="train"))
)
