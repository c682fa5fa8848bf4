"""The command ``imsvd-plugins``. Each subcommand imports what it needs when it runs, so ``list`` needs no torch."""

import argparse
import os
import sys
from pickle import UnpicklingError
from typing import Any, Protocol

from imsvd_plugins import __version__
from imsvd_plugins._weights_only import reason, weights_only
from imsvd_plugins.commands import embed, explain, export, listing
from imsvd_plugins.commands.benchmark import command as benchmark
from imsvd_plugins.commands.demo import command as demo
from imsvd_plugins.extras import MissingExtraError


class _Command(Protocol):
    def add_to(self, commands: Any) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


_COMMANDS: dict[str, _Command] = {
    "demo": demo,
    "embed": embed,
    "explain": explain,
    "export": export,
    "list": listing,
    "benchmark": benchmark,
}


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
    except BrokenPipeError:
        # As in `imsvd-plugins list | head`: the reader has gone, and the interpreter's last flush must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("imsvd-plugins: interrupted", file=sys.stderr)
        return 130
    except MissingExtraError as error:
        print(f"imsvd-plugins: {error}", file=sys.stderr)
        return 1
    except FloatingPointError as error:
        from imsvd_plugins.training.finite import NonFiniteError  # noqa: PLC0415

        if not isinstance(error, NonFiniteError):
            raise
        print(f"imsvd-plugins: {error}", file=sys.stderr)
        return 1


def _run(argv: list[str]) -> int:
    # The rest of these lines is the host's own, options and --help included, so argparse must not parse it.
    if argv and argv[0] in ("train", "test"):
        from imsvd_plugins.commands import train  # noqa: PLC0415

        train.main(argv[1:], argv[0])
        return 0
    if argv[:1] == ["lightly"]:
        from imsvd_plugins.commands.lightly import command  # noqa: PLC0415

        command.main(argv[1:])
        return 0
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command in _COMMANDS:
        try:
            return _COMMANDS[arguments.command].run(arguments)
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

    for module in _COMMANDS.values():
        module.add_to(commands)

    # Only for the list of commands; see _run.
    commands.add_parser("train", help="train a config, shipped or your own, with mmpretrain's train tool")
    commands.add_parser("test", help="evaluate a checkpoint as a config says, with mmpretrain's test tool")
    commands.add_parser("lightly", help="fit or validate a YAML config with LightningCLI")
    return parser


if __name__ == "__main__":
    sys.exit(main())
