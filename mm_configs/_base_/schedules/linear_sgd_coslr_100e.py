# mmpretrain's schedule, whose cosine here takes its length from `train_cfg.max_epochs`.
_base_ = "mmpretrain::_base_/schedules/imagenet_sgd_coslr_100e.py"

param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True)]

auto_scale_lr = dict(base_batch_size=256)
