# The schedule of IMSVD's CIFAR-10 recipe, with the rate for a batch of 256.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4))

# The paper does not say where the warm-up starts: 1e-4 of the peak is our choice.
# Both take their length from the training, so another `train_cfg.max_epochs` needs no other change.
param_scheduler = [
    dict(type="imsvd_plugins.WarmUpLR", warm_up=10, start_factor=1e-4, convert_to_iter_based=True),
    dict(type="imsvd_plugins.CosineAfterWarmUpLR", warm_up=10, eta_min_ratio=0.001, convert_to_iter_based=True),
]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=800)

auto_scale_lr = dict(base_batch_size=256)
