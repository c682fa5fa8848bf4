"""A report's page in a headless browser, and what the tests do with it."""

import dataclasses
import json
import os
import runpy
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

SYNTHETIC = runpy.run_path(str(Path(__file__).with_name("synthetic_report.py")))
NUM_VARIABLES, NUM_BINS, NUM_IMAGES = 12, 8, 400
HOSTILE = '<script>window.ran = 1</script>"\'><img src=x onerror="window.ran=1">\n\u202egnp.'
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}

ADDRESSES = {
    "": "What IMSVD learned",
    "overview": "What IMSVD learned",
    "variables": "Variables",
    "variable=5": "Variable 5",
    "variable=5&bin=3": "Variable 5",
    "variable=3": "Variable 3",  # collapsed
    "variable=3&bin=0": "Variable 3",  # a bin without images
    "images": "Images",
    "images=%3Cscript": "Images",
    "image=3": "3.png",
    "image=399": "399.png",
    "representation": "Representation",
    "variable=999": "Nothing here",
    "variable=5&bin=99": "Nothing here",
    "variable=x": "Nothing here",
    "image=400": "Nothing here",
    "%E0%A4%A": "Nothing here",
    "images=%E0%A4%A": "Images",
}


def lacking():
    """Why no browser can be driven here; None if one can."""
    try:
        import selenium  # noqa: F401
    except ModuleNotFoundError:
        return "selenium is not installed"
    absent = [program for program in ("chromium", "chromedriver") if shutil.which(program) is None]
    return f"{' and '.join(absent)} not found" if absent else None


@pytest.fixture(scope="module")
def browser():
    reason = lacking()
    if reason and os.environ.get("IMSVD_PLUGINS_REQUIRE_BROWSER"):
        pytest.fail(f"the page must be tested in a browser here, but {reason}")
    if reason:
        pytest.skip(reason)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    # Chromium's sandbox does not start as root, nor its shared memory in a small container.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report():
    generator = np.random.default_rng(0)
    pixels = generator.integers(256, size=(NUM_IMAGES, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(NUM_IMAGES) % 3
    names = [f"{index}.png" for index in range(NUM_IMAGES)]
    names[0] = HOSTILE
    report = SYNTHETIC["whole"](pixels, labels, names, ["cat", HOSTILE, "dog"], NUM_VARIABLES, NUM_BINS)
    return dataclasses.replace(report, title=f"Report {HOSTILE}", skipped=[(HOSTILE, HOSTILE)]), pixels


def written(file, report, pixels, **settings):
    page = pytest.importorskip("imsvd_plugins.explain.page")
    page.write_page(report, SYNTHETIC["Images"](pixels, report.names), file, **settings)
    return file.as_uri()


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page") / "report.html", *report)


def shown(browser):
    return browser.execute_script("return document.documentElement.dataset.shown")


def wait_for(browser, address):
    deadline = time.monotonic() + 20
    while shown(browser) != (address or "overview"):
        assert time.monotonic() < deadline, f"{address} is not shown: {shown(browser)}"
        time.sleep(0.01)


def load(browser, page, address=""):
    """Open the page anew, as a bookmark does."""
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(f"{page}#{address}" if address else page)
    wait_for(browser, address)


def go(browser, address):
    """Follow a link to an address of the page that is open."""
    browser.execute_script("location.hash = arguments[0]", address)
    wait_for(browser, address)


def heading(browser):
    return browser.execute_script("return document.querySelector('h1').textContent")


def texts(browser, selector):
    return browser.execute_script(
        "return Array.from(document.querySelectorAll(arguments[0]), (each) => each.textContent)", selector
    )


def press(browser, *keys):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    actions = ActionChains(browser)
    for key in keys:
        *held, last = [getattr(Keys, part, part) for part in key.split("+")]
        for each in held:
            actions.key_down(each)
        actions.send_keys(last)
        for each in held:
            actions.key_up(each)
    actions.perform()


def complaints(browser):
    """What the console shows, and requests that leave the page."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    addresses = [
        event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
    ]
    assert any(address.startswith("file:") for address in addresses), "the log of requests is empty"
    foreign = [address for address in addresses if not address.startswith(("file:", "data:", "blob:"))]
    more_files = [address for address in addresses if address.startswith("file:") and ".html" not in address]
    return [entry["message"] for entry in browser.get_log("browser")] + foreign + more_files
