"""What ``mim test imsvd_plugins CONFIG --checkpoint CHECKPOINT`` runs."""

import sys

from imsvd_plugins.openmmlab.train import main

main(sys.argv[1:], tool="test")
