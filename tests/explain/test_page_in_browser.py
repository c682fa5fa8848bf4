"""A report's page in a headless browser: every address opens, shows the report's numbers and runs nothing foreign."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HELPERS = runpy.run_path(str(Path(__file__).with_name("headless_browser.py")))
ADDRESSES = HELPERS["ADDRESSES"]
HOSTILE = HELPERS["HOSTILE"]
NUM_BINS = HELPERS["NUM_BINS"]
NUM_IMAGES = HELPERS["NUM_IMAGES"]
NUM_VARIABLES = HELPERS["NUM_VARIABLES"]
SYNTHETIC = HELPERS["SYNTHETIC"]
browser = HELPERS["browser"]
complaints = HELPERS["complaints"]
go = HELPERS["go"]
heading = HELPERS["heading"]
load = HELPERS["load"]
page = HELPERS["page"]
report = HELPERS["report"]
texts = HELPERS["texts"]
wait_for = HELPERS["wait_for"]
written = HELPERS["written"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_opens_without_error_or_request(browser, page, address):
    load(browser, page, address)
    assert heading(browser) == ADDRESSES[address]
    assert complaints(browser) == []
    assert browser.execute_script("return document.title").startswith(ADDRESSES[address])


def test_a_browser_that_cannot_decode_base64_itself_shows_the_same(browser, page):
    load(browser, page, "variable=5&bin=3")
    shown = browser.execute_script("return document.querySelector('main').innerText")
    script = {"source": "delete Uint8Array.fromBase64"}
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        load(browser, page, "variable=5&bin=3")
        assert browser.execute_script("return Uint8Array.fromBase64") is None
        assert browser.execute_script("return document.querySelector('main').innerText") == shown
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


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
    assert values["Agreement"] == f"{100 * variables.agreement[0]:.0f}\u00a0%"
    assert values["Label information"] == f"{variables.label_information[0]:.3f}"
    go(browser, "variable=0&bin=3")
    count = int((variables.bins[:, 0] == 3).sum())
    (summary,) = [text for text in texts(browser, "section.bin > p") if f"{count} images of 400" in text]
    found, by_chance = variables.bin_agreement[0, 3], variables.bin_agreement_by_chance[0, 3]
    assert f"{100 * found:.0f}\u00a0% of the cases; by chance it would in {100 * by_chance:.0f}\u00a0%" in summary


def test_a_bin_shows_its_most_frequent_classes(browser, page, report):
    whole, _ = report
    members = whole.labels[whole.variables.bins[:, 5] == 3]
    shares = np.bincount(members, minlength=3) / len(members)
    load(browser, page, "variable=5&bin=3")
    expected = [f"{100 * share:.0f}\u00a0%" for share in sorted(shares, reverse=True)]
    assert [text.rpartition(": ")[2] for text in texts(browser, ".composition li")] == expected


def test_bins_are_sorted_by_the_agreement_of_two_views(browser, page, report):
    agreement = report[0].variables.bin_agreement[5]
    load(browser, page, "variable=5")
    browser.execute_script(
        "const choice = document.querySelector('.order select'); choice.value = 'agreement';"
        "choice.dispatchEvent(new Event('change'))"
    )
    order = [
        int(link.rpartition("bin=")[2])
        for link in browser.execute_script(
            "return Array.from(document.querySelectorAll('.bins .bin-name'), (each) => each.hash)"
        )
    ]
    assert (np.diff(agreement[order]) <= 1e-6).all()


def test_an_image_without_heat_maps_says_where_they_are(browser, page, report):
    without = NUM_IMAGES - 1
    assert without not in {each.image for each in report[0].attributions}
    for image, expected in ((0, False), (without, True)):
        load(browser, page, f"image={image}")
        said = any("no heat maps for this image" in text for text in texts(browser, "section p"))
        assert said is expected


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
    assert values["Random-feature error"] == "4\u00a0%"


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
