_base_ = "mmpretrain::_base_/default_runtime.py"

# Plain names for this package's parts, in configs that inherit from this one.
custom_imports = dict(imports=["imsvd_plugins.openmmlab"])
# A run that was interrupted goes on exactly where it can, and from the last whole checkpoint;
# and every program can load its checkpoints.
default_hooks = dict(
    exact_resume=dict(type="imsvd_plugins.ExactResumeHook"),
    plain_checkpoint=dict(type="imsvd_plugins.PlainCheckpointHook"),
)
# Mistakes that would stop the training later, or let it learn nothing, are said before its first step.
runner_type = "imsvd_plugins.CheckedRunner"
