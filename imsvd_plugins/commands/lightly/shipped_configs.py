"""The YAML configs that come with this package, by name."""

from difflib import get_close_matches
from pathlib import Path

import imsvd_plugins

_CONFIGS = Path(imsvd_plugins.__file__).parent / "lightly" / "configs"
_OPTIONS = ("--config", "-c")


def shipped_configs() -> dict[str, Path]:
    """The configs that come with this package, by name."""
    return {path.stem: path for path in sorted(_CONFIGS.glob("*.yaml"))}


def with_shipped_configs(argv: list[str]) -> list[str]:
    """Command-line words in which the file replaces each shipped config's name in ``--config NAME``.

    A file in the working folder takes precedence over a shipped config of the same name.

    Raises:
        ValueError: If a value that is a name and not a path is neither a file nor a shipped config.
    """
    words: list[str] = []
    for word in argv:
        option, has_value, value = word.partition("=")
        if has_value and option in _OPTIONS:
            words.append(f"{option}={_resolved(value)}")
        else:
            words.append(_resolved(word) if words and words[-1] in _OPTIONS else word)
    return words


def _resolved(config: str) -> str:
    """The file of a config given by name; a path, or a text that is itself a config, is returned unchanged."""
    is_name = bool(config) and all(letter.isalnum() or letter in "-_." for letter in config)
    if not is_name or config.startswith("-") or Path(config).exists():
        return config
    name = config.removesuffix(".yaml")
    shipped = shipped_configs()
    if name in shipped:
        return str(shipped[name])
    close = get_close_matches(name, shipped)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(f"--config {config}: there is neither such a file nor such a shipped config{hint}")
