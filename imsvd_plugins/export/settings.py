"""Settings of a checkpoint's config as Python text that a user may paste: plain data and nothing else."""

import math
from typing import Any

Settings = dict[str, Any]


def arguments(settings: Settings) -> list[str]:
    """Keyword arguments, such as ``depth=18``.

    Raises:
        ValueError: If a name is not an identifier or a value is not plain data, as in a malicious file.
    """
    for name, value in settings.items():
        if not (isinstance(name, str) and name.isidentifier() and _is_plain(value)):
            raise ValueError(f"the config's setting {name!r} must be a name with plain data, got {value!r}.")
    return [f"{name}={value!r}" for name, value in settings.items()]


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    return value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))
