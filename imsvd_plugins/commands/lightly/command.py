"""``imsvd-plugins lightly fit --config NAME``: Lightning's own command line, for methods in Lightly's form."""

import os
import sys
import traceback
import warnings
import zipfile
from pathlib import Path
from typing import Any, NoReturn

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.exceptions import SIGTERMException

from imsvd_plugins.commands.lightly.given_settings import given_settings
from imsvd_plugins.commands.lightly.setting_faults import find_fault
from imsvd_plugins.commands.lightly.shipped_configs import shipped_configs, with_shipped_configs

_PROG = "imsvd-plugins lightly"
_ROOTS = {"trainer": Trainer, "model": LightningModule, "data": LightningDataModule, "checkpoint": ModelCheckpoint}
_OTHERS = {"seed_everything": bool | int, "ckpt_path": str | None, "weights_only": bool | None, "verbose": bool}
_LINKED = {"batch_size_per_device", "num_classes"}  # the model gets these from the data


def main(argv: list[str]) -> None:
    """Run LightningCLI in this process. A ``class_path`` may name modules in the working folder.

    Args:
        argv: A LightningCLI subcommand and its options.

    Raises:
        SystemExit: If a setting is invalid (status 2, after one line that names it), help was requested (status 0), or
            the system ended the training (status 143).
        KeyboardInterrupt: After Ctrl-C.
    """
    if (folder := os.getcwd()) not in sys.path:
        sys.path.append(folder)  # as python does for a script
    try:
        argv = with_shipped_configs(argv)
    except ValueError as error:
        _refuse(error)
    try:
        _run(argv)
    except MisconfigurationException as error:  # Lightning's error class for invalid settings, and ours.
        _refuse(error)
    except SIGTERMException as error:  # It sets no exit status, so the training would look finished.
        raise SystemExit(143) from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


def _refuse(reason: object) -> NoReturn:
    print(f"{_PROG}: error: {str(reason).strip()}", file=sys.stderr)
    raise SystemExit(2)


def _run(argv: list[str]) -> None:
    with warnings.catch_warnings():
        # This is intended: the launcher of several processes starts them with this process's own sys.argv.
        warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended to run from within Python")
        # Images without labels have nothing to validate on.
        warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")
        _CommandLine(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            # The model's own init_args determine how its parameters are grouped.
            auto_configure_optimizers=False,
            # A resumed run writes to the folder that it resumes from.
            save_config_kwargs={"overwrite": True},
            parser_class=_Parser,
            parser_kwargs={"prog": _PROG, "epilog": _shipped(), "fit": {"epilog": _shipped()}},
            args=argv,
        )


def _shipped() -> str:
    return f"Configs that ship with this package, for --config: {', '.join(shipped_configs())}."


class _WrongSettingsError(Exception):
    """The parser's error for invalid settings."""


class _Parser(LightningArgumentParser):
    """Raises its errors, without printing the 250 lines of all options first."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if self.exit_on_error:
            raise _WrongSettingsError(message) from ex
        super().error(message, ex)


class _CommandLine(LightningCLI):
    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The subcommands for which the methods have steps and the data modules have loaders."""
        return {name: LightningCLI.subcommands()[name] for name in ("fit", "validate")}

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Name in one line a setting that is invalid or would be ignored."""
        assert isinstance(args, list)
        try:
            super().parse_arguments(parser, args)
        except _WrongSettingsError as error:
            _refuse(_fault(args) or error)
        model = given_settings(args).get("model")
        arguments = {**model, **(model.get("init_args") or {})} if isinstance(model, dict) else {}
        if "num_classes" in arguments:
            _refuse("model.init_args.num_classes would be ignored: it is the data module's num_classes")
        data = self.config[self.config.subcommand].data
        own = arguments.get("batch_size_per_device")
        if own is not None and own != (data.get("init_args") or {}).get("batch_size_per_device"):
            _refuse(
                f"model.init_args.batch_size_per_device: {own} would be ignored, because it is the data module's: set "
                "data.init_args.batch_size_per_device"
            )

    def _parse_ckpt_path(self) -> None:
        """Keep the given settings when resuming; Lightning would take some from the checkpoint."""

    def before_instantiate_classes(self) -> None:
        """Raise if the checkpoint does not exist, before anything is built."""
        config = self.config[self.subcommand]
        folder, checkpoint = Path(config.checkpoint.dirpath), config.ckpt_path
        if checkpoint in ("last", "best") and config.trainer.enable_checkpointing is False:
            _refuse(f"--ckpt_path {checkpoint}: without trainer.enable_checkpointing give the checkpoint's file")
        if checkpoint == "best":
            files = ", ".join(str(file) for file in sorted(folder.glob("*.ckpt"))) or f"there are none in {folder}"
            _refuse(f"--ckpt_path best: only the process that trained knows which is best; give the file ({files})")
        if checkpoint == "last":
            # Without a checkpoint a training starts from scratch, but Lightning would also validate random weights.
            if self.subcommand == "validate" and not any(folder.glob("last*.ckpt")):
                _refuse(f"--ckpt_path last: there is no last checkpoint in {folder.absolute()}")
        elif checkpoint and checkpoint != "hpc" and ":" not in checkpoint:
            if not Path(checkpoint).exists():
                _refuse(f"--ckpt_path {checkpoint}: there is no such file")
            if Path(checkpoint).is_file() and not zipfile.is_zipfile(checkpoint):
                _refuse(f"--ckpt_path {checkpoint}: that is no checkpoint, or not a whole one")

    def instantiate_classes(self) -> None:
        """Report in one line the value that a component rejects, instead of its nesting in the config."""
        try:
            super().instantiate_classes()
        except (ImportError, OSError, TypeError, ValueError) as error:
            cause: BaseException = error
            while _raised_in(cause).startswith("jsonargparse") and (inner := cause.__cause__ or cause.__context__):
                cause = inner
            if isinstance(cause, (ImportError, OSError, ValueError)):
                _refuse(cause)
            raise cause from None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Leave out checkpoint callbacks if checkpointing is disabled; Lightning rejects the combination.

        Further checkpoint callbacks, such as one for the best epoch, write to the folder of this command's own.
        """
        given = self._get(self.config_init, "trainer", default={}).get("callbacks") or []
        callbacks = given if isinstance(given, list) else [given]
        if self.config[self.subcommand].trainer.enable_checkpointing is False:
            self._parser(self.subcommand).callback_keys.remove("checkpoint")
            kwargs["callbacks"] = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = os.path.realpath(self.config[self.subcommand].checkpoint.dirpath)
        return super().instantiate_trainer(**kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the model's settings to the data's, and give a run's checkpoints one folder.

        So ``--ckpt_path last`` resumes an earlier run with the same ``trainer.default_root_dir`` where it ended.
        """
        parser.link_arguments("data.init_args.batch_size_per_device", "model.init_args.batch_size_per_device")
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        # By default checkpoints wait for a validation, and training after the last validation would be lost.
        parser.set_defaults({"checkpoint.save_last": True, "checkpoint.save_on_train_epoch_end": True})
        parser.link_arguments("trainer.default_root_dir", "checkpoint.dirpath", compute_fn=_checkpoint_folder)


def _fault(argv: list[str]) -> str | None:
    """The parser's error, if it is about one of the settings."""
    if argv and argv[0][0] != "-" and argv[0] not in _CommandLine.subcommands():
        return f"{argv[0]}: there is no such subcommand, but {' and '.join(_CommandLine.subcommands())}"
    settings = given_settings(argv)
    checkpoint = settings.get("checkpoint")
    if isinstance(checkpoint, dict) and "dirpath" in checkpoint:
        return "checkpoint.dirpath: checkpoints are in the folder checkpoints of trainer.default_root_dir; set that"
    return find_fault(settings, _ROOTS, _OTHERS, _LINKED)


def _raised_in(error: BaseException) -> str:
    """The name of the module that raised the error."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals["__name__"])


def _checkpoint_folder(default_root_dir: str | os.PathLike[str] | None) -> str:
    return os.path.join(default_root_dir or os.getcwd(), "checkpoints")
