_base_ = "./default_runtime.py"

# The best checkpoint is chosen by RankMe, which needs no labels. One is saved wherever it is measured, so that after a
# resume the best and the last belong to one run.
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3, save_best="rankme", rule="greater"))
