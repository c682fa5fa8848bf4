"""OpenMMLab's registry nodes of this package: they make ``type='imsvd_plugins.X'`` work in a config, without imports.

mmengine imports this file by its name and hides an ImportError that happens in it, so nothing else belongs here.
"""

from typing import Any

import mmpretrain.registry as host
from mmengine.registry import Registry

from imsvd_plugins import plugins


class PluginRegistry(Registry):
    """A node beside mmpretrain's of the same name, which finds three things, in this order.

    What this package registers; the classes of other distributions' plug-ins; and, because mmengine never searches a
    sibling, all that mmpretrain finds, so that a config may set ``default_scope`` or ``_scope_`` to ``imsvd_plugins``.

    Args:
        fallback: mmpretrain's node.
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
        # A class for Lightly may well have the name of one for mmpretrain; by convention its plug-in's name tells.
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


# Every node of mmpretrain's needs a partner, or its names would not be found under this package's scope.
_KINDS = {"MODELS": ("kernels", "losses", "heads", "methods"), "TRANSFORMS": ("transforms",)}
NODES = {name: PluginRegistry(getattr(host, name), _KINDS.get(name, ())) for name in host.__all__}

MODELS = NODES["MODELS"]
MODEL_WRAPPERS = NODES["MODEL_WRAPPERS"]
DATASETS = NODES["DATASETS"]
HOOKS = NODES["HOOKS"]
