"""Which extra to install for a part that needs a package that is not there."""


class MissingExtraError(ImportError):
    """An extra is not installed. The message says which, and how to install it."""


def missing_extra(what: str, package: str, extra: str) -> MissingExtraError:
    """The error for an absent package.

    Args:
        what: What needs the package.
        package: The package.
        extra: The extra, or several separated by commas, that installs it.
    """
    message = f"{what} needs {package}, which is not installed: pip install 'imsvd_plugins[{extra}]'"
    return MissingExtraError(message, name=package)
