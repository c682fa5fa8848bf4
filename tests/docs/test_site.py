"""The documentation as a site: it builds without a warning, its links hold, and a browser shows it without a host."""

import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADLESS = runpy.run_path(str(ROOT / "tests" / "explain" / "headless_browser.py"))
browser, PHONE = HEADLESS["browser"], HEADLESS["PHONE"]
TUTORIAL = ROOT / "lightly_examples" / "tutorials" / "tutorial_imsvd_variables.py"
SHOWN = [
    *("index", "methods/imsvd", "methods/ssl-hsic", "metrics", "how-to/plug-in", "configs/index", "api/functional"),
    *("api/openmmlab", "tutorials/tutorial_imsvd_variables", "benchmarks/cost"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from a copy of the sources, so that nothing is written into the repository."""
    copy, built = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("site")
    for entry in ROOT.iterdir():
        if entry.name not in ("docs", ".git"):
            (copy / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "docs", copy / "docs", ignore=shutil.ignore_patterns("build", "__pycache__"))
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet", str(copy / "docs"), str(built)]
    checksum = (ROOT / "docs" / "tutorials" / f"{TUTORIAL.name}.md5").read_text()
    if checksum != hashlib.md5(TUTORIAL.read_bytes()).hexdigest():
        command += ["-D", "plot_gallery=0"]  # its long training is the next real build's
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    assert finished.returncode == 0, finished.stderr
    return built


class Page(HTMLParser):
    """What a page links to, loads, and can be linked at."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.update(value for name, value in attrs if name in ("id", "name") and value)
        address = attributes.get("href") or attributes.get("src")
        if address is not None:
            (self.links if tag == "a" else self.loaded).append(address)


@pytest.fixture(scope="module")
def pages(site):
    return {page: Page(page.read_text()) for page in sorted(site.rglob("*.html"))}


def test_every_local_link_leads_somewhere(pages):
    broken = []
    for page, content in pages.items():
        for link in [*content.links, *content.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            there = target.is_file()
            if not there or (target in pages and unquote(parts.fragment) not in pages[target].anchors):
                broken.append((page.name, link))
    assert broken == []


def test_nothing_is_loaded_from_a_host(site, pages):
    assert [link for page in pages.values() for link in page.loaded if urlsplit(link).netloc] == []
    styles = "\n".join(style.read_text() for style in site.rglob("*.css"))
    assert "@import" not in styles
    assert "url(http" not in styles.replace('"', "").replace("'", "")


def test_every_source_page_is_in_the_navigation(site, pages):
    linked = {(site / "index.html").parent / unquote(urlsplit(link).path) for link in pages[site / "index.html"].links}
    sources = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md") if "build" not in page.parts]
    absent = [page for page in sources if page.name != "README.md" and site / page.with_suffix(".html") not in linked]
    assert absent in ([], [Path("index.md")])


def test_every_public_name_has_an_entry(pages):
    from imsvd_plugins import explain, functional, lightly, losses, openmmlab

    anchors = set().union(*(page.anchors for page in pages.values()))
    for module in (explain, functional, lightly, losses, openmmlab):
        again = {"IMSVDLoss", "HSICLoss", "diagnostics", "kernels"} if module is not losses else set()
        for name in set(module.__all__) - again:
            assert f"{module.__name__}.{name}" in anchors


@pytest.mark.parametrize("wide", [True, False], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", SHOWN)
def test_a_browser_shows_it(browser, site, name, wide):
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    if not wide:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get((site / f"{name}.html").as_uri())
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = [
        event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
    ]
    assert requested
    assert [address for address in requested if not address.startswith(("file:", "data:", "blob:"))] == []
    # Nothing makes the page itself scroll sideways.
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.execute_script("return document.fonts.size") == 0
    formulas = browser.execute_script(
        "return Array.from(document.querySelectorAll('.math svg'), (each) => each.getBoundingClientRect().height)"
    )
    assert all(4 < height < 250 for height in formulas)
    assert bool(formulas) == (name.startswith("methods/") or name in ("api/functional", "how-to/plug-in"))
    broken = "return Array.from(document.images).filter((each) => !each.naturalWidth).map((each) => each.src)"
    assert browser.execute_script(broken) == []
