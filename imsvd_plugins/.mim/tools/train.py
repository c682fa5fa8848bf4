"""What ``mim train imsvd_plugins CONFIG`` runs."""

import sys

from imsvd_plugins.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
