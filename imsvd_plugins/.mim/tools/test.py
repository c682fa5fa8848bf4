"""What ``mim test imsvd_plugins CONFIG --checkpoint CHECKPOINT`` runs."""

import sys

from imsvd_plugins.cli import main

sys.exit(main(["test", *sys.argv[1:]]))
