"""timm models whose name is in the checkpoint's config. Their tensors keep timm's names."""

from typing import NamedTuple

from torch import Tensor

from imsvd_plugins.export.checkpoint import Backbone
from imsvd_plugins.export.files import load_call
from imsvd_plugins.export.settings import Settings, arguments

_LIGHTLY = "imsvd_plugins.lightly.backbones.TimmBackbone"
_MMPRETRAIN_PREFIX = "timm_model."


class TimmModel(NamedTuple):
    """A timm model without its classifier.

    Attributes:
        model: Its name in timm.
        options: Further arguments of ``timm.create_model``.
        tensors: The weights by timm's names.
    """

    model: str
    options: Settings
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The network's display name."""
        return f"timm's {self.model}"

    @property
    def note(self) -> str:
        """Empty: the config determines the network."""
        return ""

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries that have it."""
        return ("timm",)

    def weights(self, library: str) -> dict[str, Tensor]:
        """The weights, unchanged."""
        return self.tensors

    def code(self, library: str, file: str) -> str:
        """The line of code that makes the network and loads the file."""
        words = ", ".join([repr(self.model), *arguments({"num_classes": 0, **self.options})])
        return f"model = timm.create_model({words}); model.load_state_dict({load_call(file)})"


def find_timm_model(backbone: Backbone) -> TimmModel | None:
    """Recognise the Lightly adapter's ``TimmBackbone`` or mmpretrain's ``TIMMBackbone`` by the backbone's config.

    Returns:
        The model; None if it is another network or the config does not tell.
    """
    settings = backbone.component.get("init_args")
    if backbone.component.get("class_path") == _LIGHTLY and isinstance(settings, dict):
        options = settings.get("options") or {}
        if isinstance(options, dict) and settings.get("in_channels", 3) != 3:
            options = {"in_chans": settings["in_channels"], **options}
        return _model(settings.get("name"), options, backbone.weights)
    if str(backbone.config.get("type")).rpartition(".")[2] == "TIMMBackbone":
        settings = dict(backbone.config)
        options = {key: value for key, value in settings.items() if key not in _OF_MMPRETRAIN}
        # It outputs feature maps, which mmpretrain's necks pool.
        options = {"in_chans": settings.get("in_channels", 3), "global_pool": "", **options}
        weights = {name.removeprefix(_MMPRETRAIN_PREFIX): tensor for name, tensor in backbone.weights.items()}
        return None if settings.get("features_only") else _model(settings.get("model_name"), options, weights)
    return None


_OF_MMPRETRAIN = ("type", "model_name", "features_only", "pretrained", "checkpoint_path", "in_channels", "init_cfg")


def _model(name: object, options: object, weights: dict[str, Tensor]) -> TimmModel | None:
    if not isinstance(name, str) or not isinstance(options, dict):
        return None
    return TimmModel(name, options, weights)
