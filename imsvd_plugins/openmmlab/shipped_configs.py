"""The configs that come with this package, by name."""

from difflib import get_close_matches
from pathlib import Path

import imsvd_plugins
from imsvd_plugins.openmmlab.errors import ConfigValueError

_CONFIGS = Path(imsvd_plugins.__file__).parent / ".mim" / "configs"


def shipped_configs() -> dict[str, Path]:
    """The configs that come with this package, by name, without those that are only inherited from."""
    files = sorted(path for path in _CONFIGS.rglob("*.py") if "_base_" not in path.relative_to(_CONFIGS).parts)
    return {path.stem: path for path in files}


def resolve_config(name: str) -> Path:
    """The file of a config.

    Args:
        name: A path, or the name of a shipped config, with its folder or without, with ``.py`` or without.

    Raises:
        ConfigValueError: If there is neither such a file nor such a name.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_configs()
    stem = name.removesuffix(".py")
    for known, path in shipped.items():
        if stem in (known, path.relative_to(_CONFIGS).with_suffix("").as_posix()):
            return path
    close = get_close_matches(stem.rpartition("/")[2], shipped)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise ConfigValueError(f"CONFIG {name!r} is neither a file nor a shipped config.{hint}")
