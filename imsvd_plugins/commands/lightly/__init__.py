"""``imsvd-plugins lightly``: LightningCLI, with errors of one line."""

# First, because it says which extra to install if Lightly or Lightning is absent.
import imsvd_plugins.lightly  # noqa: F401
