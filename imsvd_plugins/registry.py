"""This package's registries for mmengine: they make ``type='imsvd_plugins.X'`` work in a config without imports.

mmengine imports this file by its name and hides an ImportError in it, so nothing else belongs here.
"""

from typing import Any

import mmpretrain.registry as host
from mmengine.registry import Registry

from imsvd_plugins import plugins


class PluginRegistry(Registry):
    """A sibling of mmpretrain's registry of the same name.

    It searches this package's registered classes first, then those of other distributions' plug-ins, and then
    mmpretrain, because mmengine never searches a sibling. So a config may set ``default_scope`` or ``_scope_`` to
    ``imsvd_plugins``.

    Args:
        fallback: mmpretrain's registry.
        kinds: The kinds of plug-ins (:data:`imsvd_plugins.plugins.KINDS`) whose classes belong here.
    """

    def __init__(self, fallback: Registry, kinds: tuple[str, ...] = ()) -> None:
        super().__init__(
            fallback.name,
            parent=fallback.parent or fallback,
            scope="imsvd_plugins",
            locations=["imsvd_plugins.openmmlab"],
        )
        self.fallback = fallback
        self._kinds = kinds

    def get(self, key: str) -> Any:
        """The class of this name, None if there is none.

        Raises:
            imsvd_plugins.plugins.PluginError: If a plug-in of this name cannot be imported, or several have this name.
        """
        self.import_from_location()
        name = key.removeprefix(f"{self.scope}.")
        found = self.module_dict.get(name) or self._plugin(name)
        return found or self.fallback.get(key)

    def _plugin(self, name: str) -> Any:
        # A class for Lightly may share its name with one for mmpretrain; by convention its plug-in is named lightly_*.
        found = {
            plugin.value: plugin
            for kind in self._kinds
            for plugin in plugins.available(kind)
            if plugin.attr == name and not plugin.name.startswith("lightly_")
        }
        own = [plugin for value, plugin in found.items() if value.startswith("imsvd_plugins.")]
        candidates = own or list(found.values())
        if not candidates:
            return None
        if len(candidates) > 1:
            places = " and ".join(f"{plugin.value} of {plugin.distribution}" for plugin in candidates)
            raise plugins.PluginError(f"type='imsvd_plugins.{name}' may mean {places}: uninstall all but one of them.")
        return plugins.load(candidates[0].kind, candidates[0].name)


# Every registry of mmpretrain needs a sibling; otherwise its names would not be found under this package's scope.
_KINDS = {"MODELS": ("kernels", "losses", "heads", "methods"), "TRANSFORMS": ("transforms",)}
NODES = {name: PluginRegistry(getattr(host, name), _KINDS.get(name, ())) for name in host.__all__}

MODELS = NODES["MODELS"]
MODEL_WRAPPERS = NODES["MODEL_WRAPPERS"]
DATASETS = NODES["DATASETS"]
HOOKS = NODES["HOOKS"]
