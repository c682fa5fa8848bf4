# Depth estimation on NYU Depth V2 by mmseg's DepthEstimator with the head of VPD, all of it fine-tuned: our choice.
# Needs mmseg. Data, crops, evaluation and schedule are those of mmseg's VPD, whose backbone is a diffusion model.
_base_ = [
    "mmseg::_base_/datasets/nyu.py",
    "mmseg::_base_/default_runtime.py",
    "mmseg::_base_/schedules/schedule_25k.py",
]

crop_size = (480, 480)
# Give the pretraining's checkpoint: --cfg-options model.backbone.init_cfg.checkpoint=...
model = dict(
    type="DepthEstimator",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        size=crop_size,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=0,
    ),
    backbone=dict(
        type="ResNet",
        depth=50,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        init_cfg=dict(type="Pretrained", checkpoint="", prefix="backbone."),
    ),
    # The head wants maps at strides 4, 8, 16 and 32, which are those of a ResNet's stages.
    decode_head=dict(type="VPDDepthHead", in_channels=[256, 512, 1024, 2048], max_depth=10),
    test_cfg=dict(mode="slide_flip", crop_size=crop_size, stride=(160, 160)),
)

# VPD's 1e-3 is too much for weights that are all fine-tuned.
optim_wrapper = dict(optimizer=dict(lr=1e-4))
default_hooks = dict(checkpoint=dict(save_best="rmse", rule="less", max_keep_ckpts=1))
