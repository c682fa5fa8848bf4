"""What ``mim test imsvd_plugins CONFIG`` runs: mmpretrain's own test tool."""

import runpy
from pathlib import Path

import mmpretrain

runpy.run_path(str(Path(mmpretrain.__file__).parent / ".mim" / "tools" / "test.py"), run_name="__main__")
