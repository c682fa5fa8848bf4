_base_ = "mmpretrain::_base_/models/resnet50.py"

# Give the pretraining's checkpoint: --cfg-options model.backbone.init_cfg.checkpoint=...
model = dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint="", prefix="backbone.")))
