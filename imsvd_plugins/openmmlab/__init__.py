"""IMSVD and SSL-HSIC as parts of OpenMMLab's mmpretrain.

In a config ``type='imsvd_plugins.IMSVDHead'`` works as it is, and plain ``type='IMSVDHead'`` after
``custom_imports = dict(imports=['imsvd_plugins.openmmlab'])``.
"""

from imsvd_plugins.extras import MissingExtraError
from imsvd_plugins.openmmlab.compatibility import distributions

try:
    import mmpretrain  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in distributions.DISTRIBUTIONS:
        raise
    raise MissingExtraError(distributions.missing(error.name)) from error

from imsvd_plugins.losses import HSICLoss, IMSVDLoss
from imsvd_plugins.openmmlab.compatibility import model_index
from imsvd_plugins.openmmlab.compatibility.cpu import CPUDistributedDataParallel
from imsvd_plugins.openmmlab.data.arrays import ArrayFolder, ChannelDataPreprocessor, ChannelView
from imsvd_plugins.openmmlab.data.digits import Digits
from imsvd_plugins.openmmlab.data.image_folder import ImageFolder, LabelledImageFolder
from imsvd_plugins.openmmlab.data.load_image import LoadImage
from imsvd_plugins.openmmlab.evaluation.explain_hook import ExplainHook
from imsvd_plugins.openmmlab.evaluation.knn_hook import KNNEvalHook
from imsvd_plugins.openmmlab.evaluation.knn_loop import KNNLoop
from imsvd_plugins.openmmlab.evaluation.probe import OnlineProbeHook
from imsvd_plugins.openmmlab.evaluation.representation import RepresentationHook
from imsvd_plugins.openmmlab.methods.algorithms import IMSVD, SSLHSIC
from imsvd_plugins.openmmlab.methods.heads import HSICHead, IMSVDHead
from imsvd_plugins.openmmlab.resume.plain_checkpoint import PlainCheckpointHook
from imsvd_plugins.openmmlab.resume.resume_hook import ExactResumeHook
from imsvd_plugins.openmmlab.training.runner import CheckedRunner
from imsvd_plugins.openmmlab.training.schedules import CosineAfterWarmUpLR, WarmUpLR
from imsvd_plugins.registry import DATASETS, HOOKS, MODEL_WRAPPERS, MODELS, NODES
from imsvd_plugins.training.seeded_batches import SeededBatchSampler

__all__ = [
    "IMSVD",
    "SSLHSIC",
    "ArrayFolder",
    "CPUDistributedDataParallel",
    "ChannelDataPreprocessor",
    "ChannelView",
    "CheckedRunner",
    "CosineAfterWarmUpLR",
    "Digits",
    "ExactResumeHook",
    "ExplainHook",
    "HSICHead",
    "HSICLoss",
    "IMSVDHead",
    "IMSVDLoss",
    "ImageFolder",
    "KNNEvalHook",
    "KNNLoop",
    "LabelledImageFolder",
    "LoadImage",
    "OnlineProbeHook",
    "PlainCheckpointHook",
    "RepresentationHook",
    "SeededBatchSampler",
    "WarmUpLR",
]

for _node, _classes in {
    MODELS: (IMSVD, SSLHSIC, IMSVDHead, HSICHead, IMSVDLoss, HSICLoss, ChannelDataPreprocessor),
    MODEL_WRAPPERS: (CPUDistributedDataParallel,),
    DATASETS: (ArrayFolder, Digits, ImageFolder, LabelledImageFolder),
    HOOKS: (ExactResumeHook, ExplainHook, KNNEvalHook, OnlineProbeHook, PlainCheckpointHook, RepresentationHook),
    NODES["TRANSFORMS"]: (ChannelView, LoadImage),
    NODES["LOOPS"]: (KNNLoop,),
    NODES["DATA_SAMPLERS"]: (SeededBatchSampler,),
    NODES["PARAM_SCHEDULERS"]: (WarmUpLR, CosineAfterWarmUpLR),
    NODES["RUNNERS"]: (CheckedRunner,),
}.items():
    # mmpretrain registers its own names first: registering a name twice is an error, and its own have precedence.
    _node.fallback.import_from_location()
    for _class in _classes:
        _node.register_module(module=_class)
        # Also under mmpretrain's scope, for the plain name.
        if _class.__name__ not in _node.fallback.module_dict:
            _node.fallback.register_module(module=_class)

distributions.warn_if_overwritten()
model_index.register()
