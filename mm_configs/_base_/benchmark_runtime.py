_base_ = "./default_runtime.py"

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=2))
