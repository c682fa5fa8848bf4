_base_ = "mmpretrain::_base_/default_runtime.py"

# Plain names for this package's parts, and checkpoints that current torch can read.
custom_imports = dict(imports=["imsvd_plugins.openmmlab"])
# A run that was interrupted goes on exactly where it can, and from the last whole checkpoint.
default_hooks = dict(exact_resume=dict(type="ExactResumeHook"))
# Mistakes that would stop the training later, or let it learn nothing, are said before its first step.
runner_type = "imsvd_plugins.CheckedRunner"
