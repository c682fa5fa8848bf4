# IMSVD of six views on Imagenette with one GPU: our choice. Every pair of views has its term in the loss.
# Two views of 128 pixels as without multi-crop, and four of 96; shares of the image as in SwAV, 0.14-1 and 0.05-0.14.
_base_ = "./imsvd_resnet18_1xb256-coslr-800e_imagenette.py"

large = dict(_base_.crop, crop_ratio_range=(0.14, 1.0))
small = dict(_base_.crop, scale=96, crop_ratio_range=(0.05, 0.14))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(
                type="MultiView",
                num_views=[1, 1, 4],
                transforms=[
                    [large, *_base_.view_pipeline1[1:]],
                    [large, *_base_.view_pipeline2[1:]],
                    [small, *_base_.view_pipeline2[1:]],
                ],
            ),
            dict(type="PackInputs"),
        ]
    )
)
