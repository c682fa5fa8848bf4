"""The error class for invalid settings, by which the command line distinguishes them from faults in the code."""

from lightning_fabric.utilities.exceptions import MisconfigurationException


class SettingsError(ValueError, MisconfigurationException):
    """Settings that cannot train. ``imsvd-plugins lightly`` shows it in one line, as it does Lightning's own."""
