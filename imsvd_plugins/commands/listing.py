"""The subcommand `list`: what can be used by name."""

import argparse
import contextlib
import json
import sys
from typing import Any

from imsvd_plugins import plugins
from imsvd_plugins._distributions import describe
from imsvd_plugins._terminal import print_table


def add_to(commands: Any) -> None:
    """Add the subcommand to a parser."""
    listing = commands.add_parser(
        "list",
        help="show what can be used by name, other packages' plug-ins included",
        description="Show what can be used by name: what is built in and what other installed packages add.",
    )
    listing.add_argument("kind", nargs="?", choices=plugins.KINDS, help="only this kind")
    listing.add_argument(
        "--check", action="store_true", help="load each, and make each kernel; status 1 if one is broken"
    )
    listing.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the list and, with ``--check``, whether each plug-in loads.

    Returns:
        The exit status: 1 if a plug-in is broken, else 0.
    """
    found = plugins.available(arguments.kind)
    # What a plug-in prints when it is imported must not end up in the output.
    with contextlib.redirect_stdout(sys.stderr):
        statuses = [_status(plugin) if arguments.check else "" for plugin in found]
    if arguments.json:
        status = [{"status": status} if arguments.check else {} for status in statuses]
        print(json.dumps([plugin._asdict() | extra for plugin, extra in zip(found, status, strict=True)], indent=2))
    else:
        rows = [(*plugin[:4], ", ".join(plugin.rivals), status) for plugin, status in zip(found, statuses, strict=True)]
        print_table([("KIND", "NAME", "VALUE", "DISTRIBUTION", "ALSO DECLARED BY", "STATUS"), *rows])
    return int(any(status.startswith("broken") for status in statuses))


def _status(plugin: plugins.Plugin) -> str:
    """The result of loading, in one line: "ok", "needs imsvd_plugins[...]" or "broken: ..."."""
    try:
        if plugin.kind == "kernels":
            plugins.make_kernel(plugin.name)
        else:
            plugins.load(plugin.kind, plugin.name)
    except plugins.MissingHostError as error:
        return f"needs imsvd_plugins[{plugins.EXTRA_OF_HOST[error.name or '']}]"
    except plugins.PluginError as error:
        reason = str(error) if error.__cause__ is None else describe(error.__cause__)
        return f"broken: {' '.join(reason.split())}"
    return "ok"
