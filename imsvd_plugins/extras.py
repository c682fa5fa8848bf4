"""Errors that say which extra to install for a missing package."""


class MissingExtraError(ImportError):
    """An extra is not installed. The message says which one and how to install it."""


def missing_extra(what: str, package: str, extra: str) -> MissingExtraError:
    """The error for a missing package.

    Args:
        what: The part that needs the package.
        package: The package.
        extra: The extra, or several separated by commas, that installs it.
    """
    message = f"{what} needs {package}, which is not installed: pip install 'imsvd_plugins[{extra}]'"
    return MissingExtraError(message, name=package)
