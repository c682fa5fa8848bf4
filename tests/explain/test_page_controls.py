"""A report's page in a headless browser: search, sort, filter, keys, colours, widths, alternative texts."""

import re
import runpy
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

HELPERS = runpy.run_path(str(Path(__file__).with_name("headless_browser.py")))
ADDRESSES = HELPERS["ADDRESSES"]
PHONE = HELPERS["PHONE"]
browser = HELPERS["browser"]
complaints = HELPERS["complaints"]
go = HELPERS["go"]
load = HELPERS["load"]
page = HELPERS["page"]
press = HELPERS["press"]
report = HELPERS["report"]
shown = HELPERS["shown"]
texts = HELPERS["texts"]
wait_for = HELPERS["wait_for"]


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
    *bins, of_class = found["dog"]
    assert all(re.fullmatch(r"#variable=\d+&bin=\d+", each) for each in bins)
    assert bins
    assert of_class == "#images&class=2"
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
    go(browser, "images&class=2")
    count = int((report[0].labels == 2).sum())
    assert texts(browser, "[role=status]")[0].startswith(f"{count} of 400 images")


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
