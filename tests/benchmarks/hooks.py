"""What the evaluation hooks take of a training step when they do not evaluate, on the digits config as it ships.

python tests/benchmarks/hooks.py
"""

import tempfile
import time
import warnings

import torch

with warnings.catch_warnings():
    # What the hosts warn of at import.
    warnings.simplefilter("ignore")
    from mmengine.config import Config
    from mmengine.runner import Runner

    from imsvd_plugins.openmmlab import ExactResumeHook, KNNEvalHook, OnlineProbeHook, RepresentationHook
    from imsvd_plugins.openmmlab.shipped_configs import resolve_config

torch.set_num_threads(1)
spent = dict.fromkeys((ExactResumeHook, KNNEvalHook, OnlineProbeHook, RepresentationHook), 0.0)


def timed(hook, stage):
    call = getattr(hook, stage)

    def measured(*args, **kwargs):
        start = time.perf_counter()
        call(*args, **kwargs)
        spent[type(hook)] += time.perf_counter() - start

    return measured


with tempfile.TemporaryDirectory() as folder:
    cfg = Config.fromfile(resolve_config("imsvd_resnet14-w24_1xb256-coslr-60e_digits"))
    cfg.work_dir = folder
    cfg.train_cfg.max_epochs = 4
    cfg.custom_hooks.append(dict(type="OnlineProbeHook"))
    runner = Runner.from_cfg(cfg)
    for hook in runner.hooks:
        if type(hook) in spent:
            for stage in ("before_train_iter", "after_train_iter"):
                setattr(hook, stage, timed(hook, stage))
    runner.train()
    steps = runner.message_hub.get_scalar("train/time").data[0].sum()
for hook, seconds in spent.items():
    print(f"{hook.__name__}: {seconds / steps:.2%} of a step")
