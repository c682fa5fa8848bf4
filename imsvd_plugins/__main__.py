"""``python -m imsvd_plugins`` is the command ``imsvd-plugins``."""

import sys

from imsvd_plugins.cli import main

if __name__ == "__main__":
    sys.exit(main())
