"""``imsvd-plugins lightly fit --config FILE``: Lightning's own command line, for methods of Lightly's form."""

import os
import sys
import traceback
import warnings
from pathlib import Path

from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.exceptions import SIGTERMException


def main(argv: list[str]) -> None:
    """Run LightningCLI in this process; what lies in the working folder can be named by ``class_path``.

    Args:
        argv: A subcommand of LightningCLI's and its options.

    Raises:
        SystemExit: If an argument or a value of the config is wrong (status 2), help was asked for (status 0), or the
            system ended the training (status 143).
        KeyboardInterrupt: After Ctrl-C.
    """
    if (folder := os.getcwd()) not in sys.path:
        sys.path.append(folder)  # as python has it for a script
    try:
        _run(argv)
    except SIGTERMException as error:  # It has no status of its own, and would look like a finished training.
        raise SystemExit(143) from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


def _run(argv: list[str]) -> None:
    with warnings.catch_warnings():
        # It is meant: the launcher of several processes starts them with this process' own sys.argv.
        warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended to run from within Python")
        _CommandLine(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            # The model's own init_args say how its parameters are grouped.
            auto_configure_optimizers=False,
            # A resumed run writes to the folder that it comes from.
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"prog": "imsvd-plugins lightly"},
            args=argv,
        )


class _CommandLine(LightningCLI):
    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """What the methods and the data modules have steps and loaders for."""
        return {name: LightningCLI.subcommands()[name] for name in ("fit", "validate")}

    def instantiate_classes(self) -> None:
        """Say in a line what a component refuses, instead of how deep in the config it is."""
        config = self.config[self.subcommand]
        if self.subcommand == "validate" and config.ckpt_path == "last":
            folder = Path(config.checkpoint.dirpath)
            if not any(folder.glob("last*.ckpt")):
                # Lightning would only warn, and validate random weights.
                self.parser.error(f"--ckpt_path last: there is no last checkpoint in {folder.absolute()}")
        try:
            super().instantiate_classes()
        except (OSError, TypeError, ValueError) as error:
            cause: BaseException = error
            while _raised_in(cause).startswith("jsonargparse") and (inner := cause.__cause__ or cause.__context__):
                cause = inner
            self.parser.error(str(cause), error)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What model and data must agree on is said once, by the data; a run's checkpoints have one place.

        So ``--ckpt_path last`` goes on where an earlier run with the same ``trainer.default_root_dir`` ended.
        """
        parser.link_arguments("data.init_args.batch_size_per_device", "model.init_args.batch_size_per_device")
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        # By themselves checkpoints wait for a validation, and what was trained after the last one would be lost.
        parser.set_defaults({"checkpoint.save_last": True, "checkpoint.save_on_train_epoch_end": True})
        parser.link_arguments("trainer.default_root_dir", "checkpoint.dirpath", compute_fn=_checkpoint_folder)


def _raised_in(error: BaseException) -> str:
    """The name of the module that raised it."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals["__name__"])


def _checkpoint_folder(default_root_dir: str | os.PathLike[str] | None) -> str:
    return os.path.join(default_root_dir or os.getcwd(), "checkpoints")
