"""The error class of mistakes in the settings, which the command line tells from faults in the code."""

from lightning_fabric.utilities.exceptions import MisconfigurationException


class SettingsError(ValueError, MisconfigurationException):
    """Settings that cannot train. ``imsvd-plugins lightly`` shows it in one line, as it does Lightning's own."""
