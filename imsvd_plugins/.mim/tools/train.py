"""What ``mim train imsvd_plugins CONFIG`` runs."""

import sys

from imsvd_plugins.openmmlab.train import main

main(sys.argv[1:])
