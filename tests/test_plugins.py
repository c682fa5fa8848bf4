import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imsvd_plugins import plugins
from imsvd_plugins.functional.kernels import GaussianKernel, InverseMultiquadricKernel
from imsvd_plugins.losses import HSICLoss

ROOT = Path(__file__).parents[1]
KERNEL = "from imsvd_plugins.functional.kernels import GaussianKernel\n\n\nclass Mine(GaussianKernel): ...\n"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def named(kind: str, name: str) -> list[plugins.Plugin]:
    return [plugin for plugin in plugins.available(kind) if plugin.name == name]


# --- What is built in -------------------------------------------------------------------------------------------------


def test_all_that_the_project_declares_is_listed() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python >= 3.11 can read pyproject.toml")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    expected = {(group.rpartition(".")[2], *item) for group, items in declared.items() for item in items.items()}
    listed = {plugin[:3] for plugin in plugins.available() if plugin.distribution.startswith("imsvd_plugins ")}
    assert listed == expected


def test_a_kind_lists_only_its_own() -> None:
    assert {plugin.kind for plugin in plugins.available("kernels")} == {"kernels"}
    assert {plugin.kind for plugin in plugins.available()} == set(plugins.KINDS)


def test_a_record_tells_where_the_plugin_comes_from() -> None:
    (plugin,) = named("kernels", "imq")
    assert plugin.value == "imsvd_plugins.functional.kernels:InverseMultiquadricKernel"
    assert plugin.attr == "InverseMultiquadricKernel"
    assert plugin.distribution == "imsvd_plugins 0.1.0"


def test_load_gives_the_class_and_create_an_object_of_it() -> None:
    assert plugins.load("kernels", "imq") is InverseMultiquadricKernel
    assert plugins.create("losses", "hsic", num_features=7).num_features == 7


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import imsvd_plugins; print(*set(sys.modules) - before)"
    assert run_python(code).split() == ["imsvd_plugins"]


def test_listing_in_a_fresh_process_imports_neither_torch_nor_a_host() -> None:
    code = """
import sys
from imsvd_plugins import plugins
assert len(plugins.available()) > 10
print(*{"torch", "numpy", "mmengine", "mmpretrain", "lightly", "pytorch_lightning", "matplotlib"} & set(sys.modules))
"""
    assert run_python(code).split() == []


def test_a_missing_host_is_an_import_error_that_names_the_extra() -> None:
    code = """
import sys
from imsvd_plugins import plugins
for name in ("lightly", "mmpretrain"):
    sys.modules[name] = None  # as if it were not installed
for name in ("lightly_imsvd", "openmmlab_imsvd"):
    try:
        plugins.load("methods", name)
    except plugins.MissingHostError as error:
        print(error, "|", error.name, "|", type(error.__cause__).__name__)
assert plugins.load("losses", "imsvd").__name__ == "IMSVDLoss"
"""
    lightly, openmmlab = run_python(code).splitlines()
    assert "pip install 'imsvd_plugins[lightly]'" in lightly
    assert "pip install 'imsvd_plugins[openmmlab]'" in openmmlab
    assert lightly.split(" | ")[1:] == ["lightly", "MissingExtraError"]
    assert openmmlab.split(" | ")[1:] == ["mmpretrain", "MissingExtraError"]


# --- What others add --------------------------------------------------------------------------------------------------


def test_another_distributions_kernel_works_by_name(install: Callable[..., Path]) -> None:
    install("acme-kernels", {"kernels": {"mine": "acme:Mine"}}, acme=KERNEL)
    (plugin,) = named("kernels", "mine")
    assert plugin == ("kernels", "mine", "acme:Mine", "acme-kernels 1.0", ())
    assert type(HSICLoss(kernel="mine").kernel).__name__ == "Mine"


def test_a_plugin_is_imported_when_it_is_loaded_and_not_before(install: Callable[..., Path]) -> None:
    install("acme", {"kernels": {"mine": "acme:Mine", "other": "acme_other:Mine"}}, acme=KERNEL, acme_other=KERNEL)
    plugins.available()
    assert "acme" not in sys.modules
    plugins.load("kernels", "mine")
    assert "acme" in sys.modules
    assert "acme_other" not in sys.modules


@pytest.mark.parametrize(
    ("value", "code", "original", "message"),
    [
        ("acme:Mine", "import nowhere_to_be_found", ModuleNotFoundError, "nowhere_to_be_found"),
        ("acme:Mine", "1 / 0", ZeroDivisionError, "division by zero"),
        ("acme:Absent", KERNEL, AttributeError, "Absent"),
        ("acme:Mine", "raise SystemExit('a script')", SystemExit, "a script"),
        ("absent_module:Mine", "", ModuleNotFoundError, "absent_module"),
    ],
)
def test_a_broken_plugin_is_listed_and_raises_its_own_error_when_asked_for(
    install: Callable[..., Path], value: str, code: str, original: type[BaseException], message: str
) -> None:
    install("acme", {"kernels": {"broken": value}}, acme=code)
    assert named("kernels", "broken")
    assert isinstance(HSICLoss(kernel="gaussian").kernel, GaussianKernel)
    with pytest.raises(plugins.PluginError, match=rf"'broken'.* of acme 1\.0 .*{message}") as caught:
        HSICLoss(kernel="broken")
    assert type(caught.value.__cause__) is original
    assert not isinstance(caught.value, plugins.MissingHostError)


def test_a_built_in_hides_another_distributions_plugin_of_its_name(install: Callable[..., Path]) -> None:
    install("acme", {"kernels": {"imq": "acme:Mine"}}, acme=KERNEL)
    (plugin,) = named("kernels", "imq")
    assert plugin.distribution == "imsvd_plugins 0.1.0"
    assert plugin.rivals == ("acme 1.0",)
    assert plugins.load("kernels", "imq") is InverseMultiquadricKernel


def test_a_name_that_two_others_declare_is_an_error_that_names_both(install: Callable[..., Path]) -> None:
    for project in ("acme", "zenith"):
        install(project, {"kernels": {"mine": f"{project}:Mine", project: f"{project}:Mine"}}, **{project: KERNEL})
    assert [plugin.rivals for plugin in named("kernels", "mine")] == [("zenith 1.0",), ("acme 1.0",)]
    with pytest.raises(plugins.PluginError, match=r"(?=.*acme 1\.0)(?=.*zenith 1\.0)"):
        plugins.load("kernels", "mine")
    for project in ("acme", "zenith"):
        assert plugins.load("kernels", project).__module__ == project


def test_one_name_in_two_kinds_is_no_dispute(install: Callable[..., Path]) -> None:
    install("acme", {"kernels": {"mine": "acme:Mine"}}, acme=KERNEL)
    install("zenith", {"losses": {"mine": "zenith:Mine"}}, zenith=KERNEL)
    assert plugins.load("kernels", "mine").__module__ == "acme"
    assert plugins.load("losses", "mine").__module__ == "zenith"


@pytest.mark.parametrize("again", ["acme-kernels", "Acme.Kernels", "acme_kernels"])
def test_one_distribution_found_twice_is_no_dispute(
    install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    install("acme-kernels", {"kernels": {"mine": "acme:Mine"}}, acme=KERNEL)
    first = install(again, {"kernels": {"mine": "acme:Mine"}}, version="2.0", folder="earlier", acme=KERNEL)
    monkeypatch.syspath_prepend(first)
    plugins.refresh()
    (plugin,) = named("kernels", "mine")
    assert plugin.distribution == f"{again} 2.0"
    assert plugin.rivals == ()
    assert Path(sys.modules[plugins.load("kernels", "mine").__module__].__file__).parent == first


def test_an_uninstalled_distributions_remnant_is_passed_over(install: Callable[..., Path]) -> None:
    site = install("acme", {"kernels": {"mine": "acme:Mine"}})
    (site / "acme-1.0.dist-info" / "METADATA").unlink()
    plugins.refresh()
    assert not named("kernels", "mine")
    assert named("kernels", "imq")


@pytest.mark.parametrize(("value", "expected"), [("1", 0), ("true", 0), ("0", 1), ("", 1)])
def test_other_distributions_plugins_can_be_switched_off(
    install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, value: str, expected: int
) -> None:
    monkeypatch.setenv("IMSVD_PLUGINS_DISABLE_EXTERNAL", value)
    install("acme", {"kernels": {"mine": "acme:Mine"}}, acme=KERNEL)
    assert len(named("kernels", "mine")) == expected
    assert named("kernels", "imq")


def test_what_is_installed_later_is_found_after_a_refresh(
    write_distribution: Callable[..., Path], install: Callable[..., Path]
) -> None:
    install("acme", {"kernels": {"mine": "acme:Mine"}}, acme=KERNEL)
    assert not named("kernels", "late")
    write_distribution("late", {"kernels": {"late": "late:Mine"}}, late=KERNEL)
    assert not named("kernels", "late")
    plugins.refresh()
    assert plugins.load("kernels", "late").__module__ == "late"


def test_a_broken_plugin_cannot_end_the_program_or_hide_in_its_message(install: Callable[..., Path]) -> None:
    """Neither an error that is no Exception, nor one whose message fails, nor one whose chain has no end."""
    codes = {
        "end": "class End(BaseException): ...\n\n\nraise End('of all')\n",
        "mute": "class Mute(Exception):\n    def __str__(self): raise RuntimeError\n\n\nraise Mute\n",
        "ring": "a, b = ValueError('a'), ValueError('b')\na.__cause__, b.__cause__ = b, a\nraise a\n",
    }
    modules = {f"acme_{name}": code for name, code in codes.items()}
    install("acme", {"kernels": {name: f"acme_{name}:X" for name in codes}}, **modules)
    messages = {"end": "End: of all", "mute": "Mute: .its message raises RuntimeError", "ring": "ValueError: a"}
    for name, message in messages.items():
        with pytest.raises(plugins.PluginError, match=message):
            plugins.load("kernels", name)


def test_ctrl_c_while_a_plugin_is_imported_is_the_users(install: Callable[..., Path]) -> None:
    install("acme", {"kernels": {"slow": "acme:X"}}, acme="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.load("kernels", "slow")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("X = 3", "must be a class, got an object of type int"),
        ("X = None", "must be a class, got an object of type NoneType"),
        ("def X(): return 3", "Kernel, got an object of type int"),
        (f"{KERNEL}\nclass X(Mine):\n    def __init__(self, width): ...", "without arguments: TypeError: .*'width'"),
        (KERNEL.replace("Mine", "X").replace("(GaussianKernel)", ""), "Kernel, got an object of type X"),
    ],
)
def test_what_is_no_kernel_says_what_a_kernel_must_be(install: Callable[..., Path], code: str, message: str) -> None:
    install("acme", {"kernels": {"odd": "acme:X"}}, acme=code)
    with pytest.raises(plugins.PluginError, match=rf"kernels plug-in 'odd' .*{message}"):
        HSICLoss(kernel="odd")


@pytest.mark.parametrize("metadata", [b"Metadata-Version: 2.1\nVersion: 1.0\n", b"Name: Acm\xe9\nVersion: 1.0\n"])
def test_metadata_without_a_readable_name_breaks_nothing(install: Callable[..., Path], metadata: bytes) -> None:
    site = install("acme", {"kernels": {"mine": "acme:Mine"}}, acme=KERNEL)
    (site / "acme-1.0.dist-info" / "METADATA").write_bytes(metadata)
    plugins.refresh()
    assert isinstance(HSICLoss().kernel, InverseMultiquadricKernel)
    (plugin,) = named("kernels", "mine")
    assert plugin.distribution == f"unnamed distribution in {site}"
    assert type(HSICLoss("mine").kernel).__name__ == "Mine"


@pytest.mark.parametrize("entry_points", [b"[imsvd_plugins.kernels]\nno equals sign\n", b"[\xe9]\n"])
def test_unreadable_entry_points_are_passed_over_with_a_warning(
    install: Callable[..., Path], entry_points: bytes
) -> None:
    site = install("acme", {"kernels": {"mine": "acme:Mine"}}, acme=KERNEL)
    (site / "acme-1.0.dist-info" / "entry_points.txt").write_bytes(entry_points)
    plugins.refresh()
    with pytest.warns(UserWarning, match=r"plug-ins of 'acme 1\.0' are passed over"):
        assert isinstance(HSICLoss().kernel, InverseMultiquadricKernel)


def test_thousands_of_plugins_are_found_and_loaded_in_a_moment(install: Callable[..., Path]) -> None:
    """Work for each plug-in, not for each pair of them."""
    install("acme", {"kernels": {f"mine{i}": "acme:Mine" for i in range(5000)}}, acme=KERNEL)
    begin = time.process_time()
    listed = plugins.available("kernels")
    for plugin in listed:
        plugins.load("kernels", plugin.name)
    assert len(listed) > 5000
    assert time.process_time() - begin < 2  # 0.2 s; a look at all of them for each takes minutes


# --- Wrong names ------------------------------------------------------------------------------------------------------


def test_an_unknown_name_shows_close_and_allowed_ones() -> None:
    with pytest.raises(
        ValueError, match=r"name in 'kernels'.*'gaussian', 'imq'.*got 'gausian'; did you mean 'gaussian'"
    ):
        plugins.load("kernels", "gausian")


def test_an_unknown_kind_shows_close_and_allowed_ones() -> None:
    for call in (plugins.available, lambda kind: plugins.load(kind, "imq")):
        with pytest.raises(
            ValueError, match=r"kind must be one of 'kernels', 'losses'.*got 'kernel'; did you mean 'kernels'"
        ):
            call("kernel")


def test_an_unknown_kernel_of_the_loss_is_named_as_its_argument() -> None:
    with pytest.raises(ValueError, match=r"^kernel: .*'imq'.*got 'imqq'; did you mean 'imq'"):
        HSICLoss(kernel="imqq")


# --- What the program registers ---------------------------------------------------------------------------------------


class Local(GaussianKernel): ...


@pytest.mark.usefixtures("registry")
def test_a_registered_object_works_by_name() -> None:
    plugins.register("kernels", "local", Local)
    plugins.refresh()
    assert isinstance(HSICLoss(kernel="local").kernel, Local)
    (plugin,) = named("kernels", "local")
    assert plugin.attr == "Local"
    assert plugin.value == f"{__name__}:Local"
    assert plugin.distribution == ""


@pytest.mark.usefixtures("registry")
def test_a_taken_name_is_replaced_only_on_request() -> None:
    with pytest.raises(
        ValueError, match=r"name 'imq' is taken in 'kernels' by .*InverseMultiquadricKernel.*replace=True"
    ):
        plugins.register("kernels", "imq", Local)
    assert plugins.load("kernels", "imq") is InverseMultiquadricKernel
    plugins.register("kernels", "imq", Local, replace=True)
    assert plugins.load("kernels", "imq") is Local
    assert len(named("kernels", "imq")) == 1
    with pytest.raises(ValueError, match="taken"):
        plugins.register("kernels", "imq", GaussianKernel)


@pytest.mark.usefixtures("registry")
def test_only_a_callable_of_a_known_kind_can_be_registered() -> None:
    with pytest.raises(TypeError, match="obj must be a class or another callable, got 'Local' of type str"):
        plugins.register("kernels", "local", "Local")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind must be one of"):
        plugins.register("kernel", "local", Local)


@pytest.mark.usefixtures("registry")
def test_threads_may_register_and_list_at_once() -> None:
    """Each name is given once, and no list is cut off by another thread's registration."""
    errors: list[BaseException] = []
    taken: list[int] = []

    def work(thread: int) -> None:
        try:
            for index in range(50):
                plugins.register("kernels", f"thread_{thread}_{index}", Local)
                plugins.available("kernels")
                try:
                    plugins.register("kernels", f"contested_{index}", Local)
                except ValueError:
                    taken.append(index)
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    assert len(taken) == 3 * 50
