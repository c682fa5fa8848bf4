# All numbers are this package's choice.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=2e-3, weight_decay=1e-4))

# The cosine ends with the last epoch, so another `train_cfg.max_epochs` needs no other change.
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=60)

auto_scale_lr = dict(base_batch_size=256)
