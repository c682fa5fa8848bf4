"""The class of a mistake in the settings, by which the command line knows it from a fault in the code."""

from lightning_fabric.utilities.exceptions import MisconfigurationException


class SettingsError(ValueError, MisconfigurationException):
    """Settings that cannot train. ``imsvd-plugins lightly`` shows it in one line, as it does Lightning's own."""
