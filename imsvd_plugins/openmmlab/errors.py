"""Classes of config errors. The command shows them in one line, and all other errors with a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class ConfigError(Exception):
    """A config cannot work. The message is one line that names the key, its value, what is allowed and the cure."""


class ConfigValueError(ConfigError, ValueError):
    """A key of a config has a wrong value."""


class ConfigTypeError(ConfigError, TypeError):
    """A key of a config has a value of a wrong type."""


class CheckpointError(ConfigError, RuntimeError):
    """A run cannot resume from what is there. The message names the file, what is wrong with it and what to do."""


@contextmanager
def as_config_errors() -> Iterator[None]:
    """Turn the errors of ``imsvd_plugins.checks`` into config errors."""
    try:
        yield
    except TypeError as error:
        raise ConfigTypeError(str(error)) from None
    except ValueError as error:
        raise ConfigValueError(str(error)) from None
