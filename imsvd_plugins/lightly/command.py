"""``imsvd-plugins lightly fit --config FILE``: Lightning's own command line, for methods of Lightly's form."""

import os
import warnings

from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI


def main(argv: list[str]) -> None:
    """Run LightningCLI in this process.

    Args:
        argv: A subcommand of LightningCLI's and its options.

    Raises:
        SystemExit: If an argument or a key of the config is wrong (status 2), or help was asked for (status 0).
    """
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
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What model and data must agree on is said once, by the data; a run's checkpoints have one place.

        So ``--ckpt_path last`` goes on where an earlier run with the same ``trainer.default_root_dir`` ended.
        """
        parser.link_arguments("data.init_args.batch_size_per_device", "model.init_args.batch_size_per_device")
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({"checkpoint.save_last": True})
        parser.link_arguments("trainer.default_root_dir", "checkpoint.dirpath", compute_fn=_checkpoint_folder)


def _checkpoint_folder(default_root_dir: str | os.PathLike[str] | None) -> str:
    return os.path.join(default_root_dir or os.getcwd(), "checkpoints")
