import subprocess
import sys

import pytest

import imsvd_plugins.lightly
from imsvd_plugins import losses

# Run in a fresh process: a module that is blocked is, for an import, not installed.
BLOCKED_IMPORT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name == {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
try:
    import imsvd_plugins.lightly
except ImportError as error:
    print(type(error).__name__, error)
"""


def import_without(blocked):
    program = BLOCKED_IMPORT.format(blocked=blocked)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return result.stdout


@pytest.mark.parametrize("host", ["lightly", "pytorch_lightning"])
def test_an_absent_host_is_answered_with_the_extra(host):
    message = import_without(host)
    assert message.startswith(f"MissingExtraError imsvd_plugins.lightly needs {host}")
    assert "pip install 'imsvd_plugins[lightly]'" in message


def test_another_missing_module_is_not_blamed_on_the_host():
    message = import_without("imsvd_plugins.lightly.heads")
    assert message == "ModuleNotFoundError No module named 'imsvd_plugins.lightly.heads'\n"


def test_the_losses_are_exported_again():
    assert imsvd_plugins.lightly.IMSVDLoss is losses.IMSVDLoss
    assert imsvd_plugins.lightly.HSICLoss is losses.HSICLoss


def test_all_public_names_exist():
    assert all(hasattr(imsvd_plugins.lightly, name) for name in imsvd_plugins.lightly.__all__)
