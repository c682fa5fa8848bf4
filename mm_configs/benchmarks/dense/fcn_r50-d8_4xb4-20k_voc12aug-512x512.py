# Semantic segmentation on Pascal VOC 2012 by mmseg's FCN, all of it fine-tuned: our choice. Needs mmseg.
_base_ = "mmseg::fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py"

# Give the pretraining's checkpoint: --cfg-options model.backbone.init_cfg.checkpoint=...
# ResNet, because the base's ResNetV1c has another stem than the pretraining's backbone.
model = dict(
    pretrained=None,
    backbone=dict(type="ResNet", init_cfg=dict(type="Pretrained", checkpoint="", prefix="backbone.")),
)
