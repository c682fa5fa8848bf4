_base_ = "./default_runtime.py"

# One line an epoch, which has five iterations.
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=5, max_keep_ckpts=2))
randomness = dict(seed=0)
