# Satellite images of 13 bands in one folder, without labels; all numbers are our choice.
# mean and std are round numbers for Sentinel-2's reflectance times 10,000: replace them by those of your folder
# (docs/how-to/other-images.md).
data_preprocessor = dict(type="imsvd_plugins.ChannelDataPreprocessor", mean=[1500.0] * 13, std=[1000.0] * 13)

# CheckedRunner gives it to the dataset below.
data_root = "data/multispectral/"

# From above there is no up, left or right.
view_pipeline = [dict(type="imsvd_plugins.ChannelView", size=128, min_scale=0.2, gain=0.2, offset=0.2, noise=0.1)]
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    # Views are a function of seed, epoch and place: exact resume, with any number of workers.
    batch_sampler=dict(type="imsvd_plugins.SeededBatchSampler", drop_last=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="imsvd_plugins.ArrayFolder",
        channels=13,
        pipeline=[
            dict(type="MultiView", num_views=[2], transforms=[view_pipeline]),
            dict(type="PackInputs"),
        ],
    ),
)

custom_hooks = [dict(type="imsvd_plugins.RepresentationHook", interval=10)]
