# Detection and instance segmentation on COCO by mmdet's Mask R-CNN C4, all of it fine-tuned: our choice, after
# mmpretrain's benchmark of BYOL. Needs mmdet.
_base_ = "mmdet::mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco.py"

norm_cfg = dict(type="SyncBN", requires_grad=True)
# Give the pretraining's checkpoint twice, because the fourth stage is in the head: --cfg-options
# model.backbone.init_cfg.checkpoint=... model.roi_head.shared_head.init_cfg.checkpoint=...
pretrained = dict(type="Pretrained", checkpoint="", prefix="backbone.")
model = dict(
    # Of the pretraining, not of caffe's weights.
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
        init_cfg=pretrained,
    ),
    roi_head=dict(
        shared_head=dict(
            type="ResLayerExtraNorm",
            norm_cfg=norm_cfg,
            norm_eval=False,
            style="pytorch",
            init_cfg=pretrained,
        )
    ),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="RandomChoiceResize",
        scales=[(1333, 640), (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)],
        keep_ratio=True,
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

custom_imports = dict(imports=["mmpretrain.models.utils.res_layer_extra_norm"])
