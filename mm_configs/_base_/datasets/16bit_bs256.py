# Greyscale images of 16 bits in one folder, without labels, such as radiographs; all numbers are our choice.
_base_ = "./multispectral_bs256.py"

# Of values that fill all 16 bits evenly. Images of 12 bits need others: replace them by those of your folder
# (docs/how-to/other-images.md).
data_preprocessor = dict(_delete_=True, type="imsvd_plugins.ChannelDataPreprocessor", mean=[32767.5], std=[18918.6])

data_root = "data/16bit/"

# A patient stands upright. Left and right differ too: set horizontal_flip=0.0 where the side matters.
view_pipeline = [
    dict(
        type="imsvd_plugins.ChannelView",
        size=224,
        min_scale=0.2,
        vertical_flip=0.0,
        quarter_turns=False,
        blur=0.5,
        gain=0.2,
        offset=0.2,
        noise=0.1,
    )
]
train_dataloader = dict(
    dataset=dict(
        channels=1,
        pipeline=[
            dict(type="MultiView", num_views=[2], transforms=[view_pipeline]),
            dict(type="PackInputs"),
        ],
    )
)
