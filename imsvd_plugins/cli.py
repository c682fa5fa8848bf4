"""The command ``imsvd-plugins``. What a subcommand needs is imported by it alone: ``list`` does without torch."""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from pickle import UnpicklingError

from imsvd_plugins import __version__, embed_command, explain_command, plugins
from imsvd_plugins._distributions import describe
from imsvd_plugins._terminal import positive, print_table
from imsvd_plugins._weights_only import reason, weights_only
from imsvd_plugins.benchmark import command as benchmark
from imsvd_plugins.export import command as export


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: Arguments after the command's name; by default those of this process.

    Returns:
        The exit status: 0; 1 if ``list --check`` finds a broken plug-in, a loss of ``benchmark`` failed, an extra is
        not installed, a checkpoint holds more than data or a training's images or loss are not finite; 130 after
        Ctrl-C.

    Raises:
        SystemExit: If the arguments are wrong (status 2), or help or the version was asked for (status 0).
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        with weights_only():
            return _run(argv)
    except UnpicklingError as error:
        refusal = "the checkpoint is not read, because it is damaged or holds more than data"
        print(f"imsvd-plugins: {refusal}: {reason(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("imsvd-plugins: interrupted", file=sys.stderr)
        return 130
    except ImportError as error:
        # Our own message about an absent host or extra says what to install; of any other the traceback is needed.
        if "imsvd_plugins[" not in str(error):
            raise
        print(f"imsvd-plugins: {error}", file=sys.stderr)
        return 1
    except FloatingPointError as error:
        from imsvd_plugins.finite import NonFiniteError  # noqa: PLC0415

        if not isinstance(error, NonFiniteError):
            raise
        print(f"imsvd-plugins: {error}", file=sys.stderr)
        return 1


def _run(argv: list[str]) -> int:
    # All that follows these is a host's own command line, options and --help included: argparse must not look at it.
    if argv and argv[0] in ("train", "test"):
        from imsvd_plugins.openmmlab import train  # noqa: PLC0415

        train.main(argv[1:], argv[0])
        return 0
    if argv[:1] == ["lightly"]:
        from imsvd_plugins.lightly import command  # noqa: PLC0415

        command.main(argv[1:])
        return 0
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "list":
        return _list(arguments.kind, check=arguments.check, as_json=arguments.json)
    if arguments.command == "demo":
        from imsvd_plugins.demo import run  # noqa: PLC0415

        work_dir = arguments.work_dir or Path("work_dirs", f"demo_{arguments.host}_{arguments.method}")
        run(arguments.method, arguments.host, work_dir, arguments.resume, arguments.epochs)
        return 0
    commands = {
        "benchmark": benchmark.run,
        "embed": embed_command.run,
        "explain": explain_command.run,
        "export": export.run,
    }
    if arguments.command in commands:
        try:
            return commands[arguments.command](arguments)
        except ValueError as error:
            parser.error(str(error))
    parser.print_help()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imsvd-plugins", description="IMSVD and SSL-HSIC for Lightly and OpenMMLab's mmpretrain."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="pretrain on scanned digits and compare with random weights",
        description="Pretrain on scikit-learn's scanned digits and compare the representation with random weights'.",
    )
    demo.add_argument(
        "--method", choices=("imsvd", "ssl-hsic"), default="imsvd", help="the objective (default: %(default)s)"
    )
    demo.add_argument(
        "--host", choices=("openmmlab", "lightly"), default="openmmlab", help="what trains (default: %(default)s)"
    )
    demo.add_argument(
        "--work-dir",
        metavar="FOLDER",
        type=Path,
        help="where checkpoint, log and curves go (default: work_dirs/demo_HOST_METHOD)",
    )
    demo.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the work folder")
    demo.add_argument("--epochs", metavar="N", type=positive, help="train shorter than the recipe, for a quick look")

    benchmark.add_to(commands)
    embed_command.add_to(commands)
    explain_command.add_to(commands)
    export.add_to(commands)

    # Only for the list of commands; see _run.
    commands.add_parser("train", help="train a config, shipped or your own, with mmpretrain's train tool")
    commands.add_parser("test", help="evaluate a checkpoint as a config says, with mmpretrain's test tool")
    commands.add_parser("lightly", help="fit or validate a YAML config with LightningCLI")

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
    return parser


def _list(kind: str | None, *, check: bool, as_json: bool) -> int:
    found = plugins.available(kind)
    # What a plug-in prints when it is imported must not end up in the output.
    with contextlib.redirect_stdout(sys.stderr):
        statuses = [_status(plugin) if check else "" for plugin in found]
    if as_json:
        status = [{"status": status} if check else {} for status in statuses]
        print(json.dumps([plugin._asdict() | extra for plugin, extra in zip(found, status, strict=True)], indent=2))
    else:
        rows = [(*plugin[:4], ", ".join(plugin.rivals), status) for plugin, status in zip(found, statuses, strict=True)]
        print_table([("KIND", "NAME", "VALUE", "DISTRIBUTION", "ALSO DECLARED BY", "STATUS"), *rows])
    return int(any(status.startswith("broken") for status in statuses))


def _status(plugin: plugins.Plugin) -> str:
    """What loading says, in one line: "ok", "needs imsvd_plugins[...]" or "broken: ..."."""
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


if __name__ == "__main__":
    sys.exit(main())
