# Fine-tuning with a batch of 64. All numbers are our choice.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type="CosineAnnealingLR", by_epoch=True, convert_to_iter_based=True)]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=100)
val_cfg = dict()
test_cfg = dict()

auto_scale_lr = dict(base_batch_size=64)
