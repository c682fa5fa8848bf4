"""Names in configs: this package's, other distributions' and, by fallback, mmpretrain's."""

import importlib
import re
import subprocess
import sys

import mmpretrain.registry as host
import pytest
from mmengine.registry import DefaultScope, init_default_scope

import imsvd_plugins.openmmlab as parts
from imsvd_plugins import plugins, registry
from imsvd_plugins.functional.kernels import GaussianKernel

NODE_OF = {
    "IMSVD": "MODELS",
    "SSLHSIC": "MODELS",
    "IMSVDHead": "MODELS",
    "HSICHead": "MODELS",
    "IMSVDLoss": "MODELS",
    "HSICLoss": "MODELS",
    "Digits": "DATASETS",
    "ExplainHook": "HOOKS",
    "KNNEvalHook": "HOOKS",
}


@pytest.mark.parametrize("name", NODE_OF)
def test_prefixed_and_plain_names_give_the_very_class(name):
    node = getattr(host, NODE_OF[name])
    assert node.get(f"imsvd_plugins.{name}") is node.get(name) is getattr(parts, name)


def test_prefixed_names_work_in_a_process_that_imported_nothing_of_ours():
    code = (
        "from mmpretrain.registry import MODELS, HOOKS\n"
        "import sys\n"
        "assert 'imsvd_plugins' not in sys.modules and MODELS.get('IMSVDHead') is None\n"
        "assert MODELS.get('imsvd_plugins.IMSVDHead').__name__ == 'IMSVDHead'\n"
        "assert HOOKS.get('imsvd_plugins.KNNEvalHook').__name__ == 'KNNEvalHook'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("node", "config"),
    [
        ("MODELS", {"type": "LatentCrossCorrelationHead", "in_channels": 4, "loss": {"type": "CrossCorrelationLoss"}}),
        ("MODELS", {"type": "Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1}),
        ("TRANSFORMS", {"type": "PackInputs"}),
        ("TRANSFORMS", {"type": "RandomFlip", "prob": 0.5}),
        ("TRANSFORMS", {"type": "torchvision/RandomGrayscale", "p": 0.2}),
        ("HOOKS", {"type": "EMAHook"}),
        ("METRICS", {"type": "Accuracy"}),
    ],
)
@pytest.mark.parametrize("how", ["default_scope", "_scope_"])
def test_the_hosts_own_names_are_found_under_our_scope(node, config, how):
    if how == "default_scope":
        init_default_scope("imsvd_plugins")
        built = getattr(host, node).build(config)
    else:
        init_default_scope("mmpretrain")
        built = getattr(host, node).build({**config, "_scope_": "imsvd_plugins"})
    assert type(built).__module__.split(".")[0] in ("mmpretrain", "mmcv", "mmengine", "torch")


def test_our_names_are_found_under_our_scope():
    init_default_scope("imsvd_plugins")
    head = host.MODELS.build({"type": "IMSVDHead", "loss": {"type": "IMSVDLoss", "num_bins": 4}})
    assert type(head) is parts.IMSVDHead
    assert DefaultScope.get_current_instance().scope_name == "imsvd_plugins"


@pytest.mark.parametrize("key", ["imsvd_plugins.Nope", "Nope"])
def test_a_wrong_name_is_a_key_error_that_names_it(key):
    for node in (host.MODELS, registry.MODELS):
        with pytest.raises(KeyError, match=key):
            node.build({"type": key})


def test_full_paths_and_other_scopes_still_work():
    assert registry.MODELS.get("mmpretrain.ResNet") is host.MODELS.get("ResNet")
    assert registry.MODELS.get("torch.nn.Linear").__name__ == "Linear"
    assert registry.MODELS.get("imsvd_plugins.losses.IMSVDLoss") is parts.IMSVDLoss


def test_every_node_of_mmpretrain_has_a_partner():
    assert set(registry.NODES) == set(host.__all__)


def test_built_in_kernels_have_names_in_configs():
    assert host.MODELS.get("imsvd_plugins.GaussianKernel") is GaussianKernel


class TestOtherDistributions:
    @pytest.fixture
    def installed(self, write_distribution, monkeypatch):
        def install(*distributions):
            for number, (project, entry_points, modules) in enumerate(distributions):
                monkeypatch.syspath_prepend(
                    write_distribution(project, entry_points, folder=f"site{number}", **modules)
                )
            importlib.invalidate_caches()
            plugins.refresh()

        yield install
        monkeypatch.undo()
        plugins.refresh()

    def test_their_classes_are_found_by_name(self, installed):
        code = (
            "from imsvd_plugins.losses import IMSVDLoss\nclass TheirLoss(IMSVDLoss): pass\nclass TheirTransform: pass\n"
        )
        entry_points = {
            "losses": {"theirs": "their_code_1:TheirLoss"},
            "transforms": {"theirs": "their_code_1:TheirTransform"},
        }
        installed(("theirs", entry_points, {"their_code_1": code}))
        assert host.MODELS.get("imsvd_plugins.TheirLoss").__module__ == "their_code_1"
        assert host.TRANSFORMS.get("imsvd_plugins.TheirTransform").__module__ == "their_code_1"
        assert host.HOOKS.get("imsvd_plugins.TheirLoss") is None
        init_default_scope("mmpretrain")
        head = host.MODELS.build(
            {"type": "imsvd_plugins.IMSVDHead", "loss": {"type": "imsvd_plugins.TheirLoss", "num_bins": 4}}
        )
        assert head.loss_module.gather_distributed

    def test_two_classes_of_one_name_are_an_error_that_names_both(self, installed):
        code = "class Twin: pass\n"
        installed(
            ("first-one", {"losses": {"one": "their_code_2:Twin"}}, {"their_code_2": code}),
            ("second-one", {"losses": {"two": "their_code_3:Twin"}}, {"their_code_3": code}),
        )
        with pytest.raises(plugins.PluginError, match=r"(?s)first-one.*second-one|second-one.*first-one"):
            host.MODELS.get("imsvd_plugins.Twin")

    def test_ours_win(self, installed):
        code = "class GaussianKernel: pass\nclass IMSVDHead: pass\n"
        values = {"kernels": {"theirs": "their_code_4:GaussianKernel"}, "heads": {"theirs": "their_code_4:IMSVDHead"}}
        installed(("theirs", values, {"their_code_4": code}))
        assert host.MODELS.get("imsvd_plugins.GaussianKernel") is GaussianKernel
        assert host.MODELS.get("imsvd_plugins.IMSVDHead") is parts.IMSVDHead

    def test_a_broken_one_names_its_distribution(self, installed):
        installed(("theirs", {"losses": {"broken": "their_code_5:Broken"}}, {"their_code_5": "1 / 0\n"}))
        with pytest.raises(plugins.PluginError, match=r"theirs 1\.0"):
            host.MODELS.get("imsvd_plugins.Broken")
        assert host.MODELS.get("imsvd_plugins.IMSVDHead") is parts.IMSVDHead

    def test_a_class_for_lightly_is_left_alone(self, installed):
        code = "class Theirs: pass\n"
        installed(("theirs", {"heads": {"lightly_theirs": "their_code_6:Theirs"}}, {"their_code_6": code}))
        assert host.MODELS.get("imsvd_plugins.Theirs") is None


def test_without_the_host_the_error_names_the_extra():
    code = (
        "import sys\n"
        "sys.modules['mmpretrain'] = None\n"
        "import imsvd_plugins, imsvd_plugins.losses\n"
        "try:\n"
        "    import imsvd_plugins.openmmlab\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "mmpretrain" in shown
    # Which of them: test_distributions.py.
    assert re.search(r"pip install 'imsvd_plugins\[(openmmlab|onedl)\]'", shown)
