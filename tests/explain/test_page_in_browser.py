"""A report's page in a headless browser: addresses, search, sort, filter, keys, colours, widths, hostile names."""

import dataclasses
import json
import os
import re
import runpy
import shutil
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

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


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_opens_without_error_or_request(browser, page, address):
    load(browser, page, address)
    assert heading(browser) == ADDRESSES[address]
    assert complaints(browser) == []
    assert browser.execute_script("return document.title").startswith(ADDRESSES[address])


def test_links_lead_to_the_same_views_as_addresses(browser, page):
    load(browser, page)
    for address, title in ADDRESSES.items():
        if address:
            go(browser, address)
            assert heading(browser) == title
    assert complaints(browser) == []


def test_the_back_button_returns(browser, page):
    load(browser, page, "variable=5")
    go(browser, "variable=6")
    browser.back()
    wait_for(browser, "variable=5")
    assert heading(browser) == "Variable 5"


def test_hostile_names_are_shown_and_never_run(browser, page):
    visible = HOSTILE.replace("\n", "↵").replace("\u202e", "\\u202e")
    load(browser, page)
    for address in ("overview", "image=0", "images", "image=1", "representation", "variable=0"):
        go(browser, address)
        assert browser.execute_script("return window.ran") is None
        assert browser.execute_script("return document.querySelectorAll('script:not([type])').length") == 1
    go(browser, "image=0")
    assert heading(browser) == visible
    go(browser, "overview")
    assert f"{visible}: {visible}" in texts(browser, "details li")
    assert complaints(browser) == []


def test_numbers_are_the_reports(browser, page, report):
    variables = report[0].variables
    load(browser, page, "variable=0")
    values = dict(zip(texts(browser, ".number h3"), texts(browser, ".number .value"), strict=True))
    assert values["Entropy"] == f"{variables.entropies[0]:.3f}"
    assert values["Bins used"] == f"{variables.bins_used[0]} of {NUM_BINS}"
    assert values["Agreement"] == f"{100 * variables.agreement[0]:.0f} %"
    assert values["Label information"] == f"{variables.label_information[0]:.3f}"
    go(browser, "variable=0&bin=3")
    count = int((variables.bins[:, 0] == 3).sum())
    assert f"{count} images of 400" in texts(browser, "section.bin > p")[1]


def sample(browser, kind):
    links = browser.execute_script(
        "return Array.from(document.querySelectorAll(`[data-sample=${arguments[0]}] a`), (each) => each.hash)", kind
    )
    return [int(link.removeprefix("#image=")) for link in links]


def test_a_bin_shows_its_surest_a_sample_and_all_degrees_of_certainty(browser, page, report):
    variables = report[0].variables
    load(browser, page, "variable=5&bin=3")
    members = np.flatnonzero(variables.bins[:, 5] == 3)
    certainty = variables.certainty[:, 5].astype(float)
    order = members[np.argsort(-certainty[members], kind="stable")]
    surest, usual, strip = (sample(browser, kind) for kind in ("surest", "random", "quantiles"))
    assert surest == order[:16].tolist()
    assert set(usual) <= set(members.tolist())
    assert usual != surest
    assert (strip[0], strip[-1]) == (order[0], order[-1])
    ranks = [order.tolist().index(image) for image in strip]
    assert np.diff(ranks).max() <= np.ceil(len(order) / 15) + 1


def test_search_finds_variables_bins_images_and_classes(browser, page):
    load(browser, page)
    found = {}
    for text in ("5", "variable 5", "5 3", "39.png", "dog", "<script>", "no such thing"):
        browser.execute_script("document.getElementById('query').focus()")
        browser.execute_script(
            "const q = document.getElementById('query'); q.value = arguments[0]; q.dispatchEvent(new Event('input'))",
            text,
        )
        found[text] = browser.execute_script(
            "return Array.from(document.querySelectorAll('#results a'), (each) => each.hash)"
        )
    assert found["5"][:2] == ["#variable=5", "#image=5"]
    assert found["variable 5"] == ["#variable=5"]
    assert found["5 3"] == ["#variable=5&bin=3"]
    assert found["39.png"][:2] == ["#image=39", "#image=139"]
    assert all(re.fullmatch(r"#variable=\d+&bin=\d+", each) for each in found["dog"])
    assert found["dog"]
    assert "#image=0" in found["<script>"]
    assert found["no such thing"] == []
    assert complaints(browser) == []


def test_search_by_keyboard(browser, page):
    load(browser, page)
    press(browser, "/", "3", "9", ".", "p", "n", "g", "ARROW_DOWN", "ARROW_DOWN", "ENTER")
    wait_for(browser, "image=139")
    press(browser, "/")
    assert browser.execute_script("return document.activeElement.id") == "query"
    press(browser, "ESCAPE")
    assert browser.execute_script("return document.getElementById('results').hidden")


def rows(browser):
    return [int(text.removeprefix("variable ")) for text in texts(browser, "tbody th")]


def sort_order(browser, key):
    header = "return document.querySelector(`[data-sort=${arguments[0]}]`).closest('th').ariaSort"
    return browser.execute_script(header, key)


def test_variables_are_sorted_by_each_column(browser, page, report):
    variables = report[0].variables
    load(browser, page, "variables")
    chance = variables.agreement_by_chance
    above_chance = np.where(chance < 0.99, (variables.agreement - chance) / np.maximum(1 - chance, 1e-9), 0)
    for key, values in (
        ("entropy", variables.entropies),
        ("label", variables.label_information),
        ("agreement", np.maximum(above_chance, 0)),
    ):
        for order in ("descending", "ascending"):
            while sort_order(browser, key) != order:
                browser.execute_script("document.querySelector(`[data-sort=${arguments[0]}]`).click()", key)
            ordered = values[rows(browser)]
            assert (np.diff(ordered) * (1 if order == "ascending" else -1) >= -1e-6).all()


def test_variables_and_images_are_filtered(browser, page, report):
    variables = report[0].variables
    load(browser, page, "variables")
    set_range = (
        "const input = document.querySelector('[data-filter=entropy]');"
        "input.value = arguments[0]; input.dispatchEvent(new Event('input'))"
    )
    browser.execute_script(set_range, 0.5)
    assert set(rows(browser)) == set(np.flatnonzero(variables.entropies >= 0.5))
    assert 3 not in rows(browser)
    browser.execute_script(set_range, 0)
    browser.execute_script("document.querySelector('.filters [type=checkbox]').click()")
    assert set(rows(browser)) == set(np.flatnonzero(variables.label_p_value < 0.05))
    go(browser, f"images={quote('39.png')}")
    assert texts(browser, "[role=status]")[0].startswith("4 of 400 images")


def test_arrow_keys_lead_from_one_to_the_next(browser, page):
    load(browser, page, "variable=0")
    for keys, address in (
        ("ARROW_RIGHT", "variable=1"),
        ("ARROW_RIGHT", "variable=2"),
        ("ARROW_LEFT", "variable=1"),
        ("SHIFT+ARROW_RIGHT", "variable=1&bin=0"),
        ("SHIFT+ARROW_RIGHT", "variable=1&bin=1"),
        ("ARROW_RIGHT", "variable=2"),
    ):
        press(browser, keys)
        wait_for(browser, address)
    go(browser, "variable=0")
    press(browser, "ARROW_LEFT")
    assert shown(browser) == "variable=0"
    go(browser, "image=7")
    press(browser, "ARROW_RIGHT")
    wait_for(browser, "image=8")
    # In a field the arrows belong to the text.
    go(browser, "variable=5")
    press(browser, "/", "x", "ARROW_LEFT")
    assert shown(browser) == "variable=5"
    assert complaints(browser) == []


def test_tab_starts_with_the_skip_link_and_focus_is_visible(browser, page):
    load(browser, page, "variables")
    seen = []
    for _ in range(12):
        press(browser, "TAB")
        seen.append(
            browser.execute_script(
                "const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);"
                "return [e.id || e.textContent, box.width > 0 && box.left >= 0, style.outlineStyle !== 'none']"
            )
        )
    assert seen[0][0] == "skip"
    assert all(visible and outlined for _, visible, outlined in seen), seen
    load(browser, page, "variables")
    press(browser, "TAB", "ENTER")
    assert browser.execute_script("return document.activeElement.id") == "main"
    assert shown(browser) == "variables"


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_nothing_is_wider_than_the_screen(browser, page, width):
    try:
        if width == "phone":
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        load(browser, page)
        for address in ADDRESSES:
            go(browser, address or "overview")
            wide = browser.execute_script(
                "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert wide[0] <= wide[1], address
            if width == "phone":
                assert wide[1] == PHONE["width"]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def test_dark_and_light_follow_the_system_and_the_switch(browser, page):
    try:
        for scheme, colour, other in (
            ("dark", "rgb(21, 24, 28)", "rgb(255, 255, 255)"),
            ("light", "rgb(255, 255, 255)", "rgb(21, 24, 28)"),
        ):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            load(browser, page)
            assert background(browser) == colour
            browser.find_element("id", "theme").click()
            assert background(browser) == other
            load(browser, page, "variables")
            assert background(browser) == other  # remembered
            browser.execute_script("localStorage.clear()")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize(
    "address", ["overview", "variables", "variable=5&bin=3", "images", "image=3", "representation"]
)
def test_pictures_and_controls_have_names(browser, page, address):
    load(browser, page, address)
    nameless = browser.execute_script(
        """
        const hidden = (each) => each.closest("[aria-hidden=true]");
        const own = (each) => each.ariaLabel || each.alt || each.textContent.trim();
        const named = (each) => own(each) || each.labels?.length || each.querySelector("[aria-label], img[alt]");
        const all = document.querySelectorAll("canvas, svg, img, [role=img], [role=region], a, button, input, select");
        return Array.from(all, (each) => (hidden(each) || named(each) ? "" : each.outerHTML.slice(0, 200)))
          .filter(Boolean);
        """
    )
    assert nameless == []


# [contrast, text] of the texts with what is behind them, the worst first.
CONTRASTS = """
    const numbers = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
    const linear = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = (element) => {
      for (; element; element = element.parentElement) {
        const colour = numbers(getComputedStyle(element).backgroundColor);
        if (colour.length === 3 || colour[3] > 0.9) return colour;
      }
    };
    const isText = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim();
    const own = (element) => Array.from(element.childNodes).some(isText);
    return Array.from(document.querySelectorAll("main *, header *, footer *"))
      .filter((element) => element.offsetParent && own(element))
      .map((element) => {
        const pair = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
        return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), element.textContent.slice(0, 40)];
      })
      .sort((one, other) => one[0] - other[0]).slice(0, 3);
"""


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_texts_stand_out(browser, page, theme):
    """By the 4.5 to 1 of the accessibility guidelines."""
    load(browser, page)
    browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    for address in ("overview", "variables", "variable=5&bin=3", "image=3", "representation"):
        go(browser, address)
        worst = browser.execute_script(CONTRASTS)
        assert worst[0][0] >= 4.5, worst


def test_other_methods_show_their_representation(browser, tmp_path, report):
    pixels = report[1]
    labels = np.arange(NUM_IMAGES) % 3
    names = [f"{index}.png" for index in range(NUM_IMAGES)]
    other = SYNTHETIC["whole"](pixels, labels, names, ["a", "b", "c"], 0, 0, method="SSLHSIC")
    page = written(tmp_path / "report.html", other, pixels)
    for address, title in (
        ("overview", "What SSLHSIC learned"),
        ("representation", "Representation"),
        ("image=3", "3.png"),
        ("images", "Images"),
        ("variable=3", "No variables"),
        ("variables", "No variables"),
    ):
        load(browser, page, address)
        assert heading(browser) == title
        assert complaints(browser) == []
    assert texts(browser, "nav a") == ["Overview", "Images", "Representation"]
    go(browser, "representation")
    values = dict(zip(texts(browser, ".number h3"), texts(browser, ".number .value"), strict=True))
    assert values["Random-feature error"] == "4 %"


def test_images_without_labels_show_no_label_figures(browser, tmp_path, report):
    pixels = report[1]
    names = [f"{index}.png" for index in range(NUM_IMAGES)]
    unlabelled = SYNTHETIC["whole"](pixels, None, names, [], NUM_VARIABLES, NUM_BINS)
    page = written(tmp_path / "report.html", unlabelled, pixels, max_thumbnails=150)
    for address in ("overview", "variables", "variable=5&bin=3", "image=0", "images", "representation"):
        load(browser, page, address)
        assert "label" not in " ".join(texts(browser, "main h2, main h3, main th, main .value"))
        assert complaints(browser) == []
    load(browser, page, "images")
    held = browser.execute_script("return Array.from(document.querySelectorAll('.thumbnail'), (each) => each.hash)")
    assert len(set(held)) == 150
    go(browser, f"image={next(index for index in range(NUM_IMAGES) if f'#image={index}' not in held)}")
    assert heading(browser) == "Nothing here"


def timings(browser, page, num_variables):
    """Milliseconds to the first view, and to each of some variables."""
    load(browser, page)
    first = float(browser.execute_script("return document.documentElement.dataset.drawn"))
    views = []
    for m in range(0, num_variables, max(1, num_variables // 10)):
        browser.execute_script("window.began = performance.now(); location.hash = arguments[0]", f"variable={m}")
        wait_for(browser, f"variable={m}")
        views.append(browser.execute_script("return document.documentElement.dataset.drawn - window.began"))
    return first, views


def test_time_to_show(browser, page, record_property):
    first, views = timings(browser, page, NUM_VARIABLES)
    record_property("first view in ms", first)
    record_property("variables in ms", views)
    print(f"first view {first:.0f} ms, a variable {np.median(views):.0f} to {max(views):.0f} ms")


@pytest.mark.slow
def test_a_large_report_is_small_and_quick(browser, tmp_path):
    """50,000 images, 102 variables of 80 bins: 15 MB, whatever the images; two to three times 2 s and 200 ms."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(256, size=(50_000, 8, 8, 3), dtype=np.uint8)
    names = [f"train/class/{index:05d}.png" for index in range(len(pixels))]
    report = SYNTHETIC["whole"](pixels, np.arange(len(pixels)) % 10, names, list("abcdefghij"), 102, 80, joint_of=2000)
    noise = generator.integers(128, size=(256, 256, 3), dtype=np.uint8)

    class Large(SYNTHETIC["Images"]):
        """The same images with noise, at four times the thumbnails' size: nothing is harder to compress."""

        def __getitem__(self, index):
            return Image.fromarray(self.pixels[index].repeat(32, axis=0).repeat(32, axis=1) // 2 + noise)

    from imsvd_plugins.explain.page import write_page

    write_page(report, Large(pixels, names), tmp_path / "report.html")
    size = (tmp_path / "report.html").stat().st_size
    first, views = timings(browser, (tmp_path / "report.html").as_uri(), 102)
    print(f"{size / 1e6:.1f} MB, first view {first:.0f} ms, a variable {np.median(views):.0f} to {max(views):.0f} ms")
    assert size < 15_000_000
    assert first < 4000
    assert np.median(views) < 600
