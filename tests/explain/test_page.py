"""A report's page as a file: which images it holds, how its numbers are packed, that it is whole or not there."""

import base64
import dataclasses
import errno
import io
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("jinja2")

from imsvd_plugins.explain import page
from imsvd_plugins.explain.page_data import certainty_quantiles, frequent_classes, page_data, related_variables
from imsvd_plugins.explain.pooling import pooled_joint
from imsvd_plugins.explain.shown_images import choose_images
from imsvd_plugins.explain.sprites import make_sprites

SYNTHETIC = runpy.run_path(str(Path(__file__).with_name("synthetic_report.py")))
NUM_VARIABLES, NUM_BINS = 5, 6


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(256, size=(300, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def report(pixels):
    labels = np.arange(len(pixels)) % 3
    names = [f"{index}.png" for index in range(len(pixels))]
    return SYNTHETIC["whole"](pixels, labels, names, ["a", "b", "c"], NUM_VARIABLES, NUM_BINS)


@pytest.fixture
def images(pixels, report):
    return SYNTHETIC["Images"](pixels, report.names)


def decoded(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), packed["type"]).reshape(packed["shape"])


def data_of(file):
    """What the page's scripts read."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', file.read_text("utf-8"), re.S)
    return json.loads(text)


def test_all_images_are_shown_while_there_is_room(report):
    shown, uniform = choose_images(report, 300)
    assert shown.tolist() == list(range(300))
    assert uniform.all()


def test_beyond_the_limit_the_attributed_the_surest_and_a_sample_are_shown(report):
    shown, uniform = choose_images(report, 100)
    assert len(shown) == len(set(shown)) == 100
    assert (np.diff(shown) > 0).all()
    assert {each.image for each in report.attributions} <= set(shown)
    counts = np.bincount([i for bins in report.variables.examples for each in bins for i in each.surest])
    assert counts.argmax() in shown
    assert uniform.sum() >= 28  # a third of those without an attribution


def test_the_sample_is_no_better_than_the_whole(report):
    """Its mean certainty is that of all images; that of the surest is not."""
    certainty = report.variables.certainty.astype(np.float64).mean(axis=1)
    shown, uniform = choose_images(report, 120)
    error = certainty.std() / np.sqrt(uniform.sum())
    assert abs(certainty[shown[uniform]].mean() - certainty.mean()) < 3 * error
    assert certainty[shown[~uniform]].mean() > certainty.mean()


@pytest.mark.parametrize("limit", [1, 2, 15, 17])
def test_small_limits_hold(report, limit):
    assert len(choose_images(report, limit)[0]) == limit


@pytest.mark.parametrize("num_bins", [4, 6, 7])
def test_independent_equally_used_bins_are_white_at_any_pooling(num_bins):
    joint = np.full((3 * num_bins, 3 * num_bins), 1 / num_bins**2)
    for pixels in (3, 6, 10, 1000):
        assert (pooled_joint(joint, num_bins, pixels) == 127).all()


def test_pooling_is_the_logarithm_of_the_mean_frequency():
    joint = np.random.default_rng(0).dirichlet(np.ones(36)).reshape(6, 6)
    pooled = pooled_joint(joint, 6, 3)
    mean = joint.reshape(3, 2, 3, 2).mean(axis=(1, 3))
    expected = 127 * (1 + np.clip(np.log2(36 * mean) / np.log2(3), -1, 1))
    np.testing.assert_allclose(pooled, expected, atol=0.5 + 1e-9)


def test_bins_that_never_meet_are_bluest_and_those_that_always_do_reddest():
    for pixels in (2, 4):
        assert pooled_joint(np.eye(4) / 4, 4, pixels).tolist() == (254 * np.eye(pixels, dtype=int)).tolist()


def test_quantiles_rank_the_images_of_a_bin(report):
    quantiles = certainty_quantiles(report.variables)
    bins, certainty = report.variables.bins, report.variables.certainty
    for m, k in ((0, 0), (1, 3), (4, 5)):
        members = np.flatnonzero(bins[:, m] == k)
        order = members[np.argsort(-certainty[members, m].astype(float), kind="stable")]
        expected = 255 * np.arange(len(order)) / max(1, len(order) - 1)
        np.testing.assert_allclose(quantiles[order, m], expected, atol=0.5 + 1e-9)


def test_the_frequent_classes_of_a_bin_are_counted_without_the_unlabelled():
    bins = np.array([[0, 1], [0, 1], [0, 0], [1, 0], [0, 1]], dtype=np.uint8)
    labels = np.array([2, 2, 0, 1, -1])
    frequent, counts = frequent_classes(bins, labels, num_bins=3)
    assert counts.tolist() == [[[2, 1, 0], [1, 0, 0], [0, 0, 0]], [[1, 1, 0], [2, 0, 0], [0, 0, 0]]]
    assert frequent[0, 0, :2].tolist() == [2, 0]
    assert frequent[1, 1, 0] == 2


def test_related_variables_are_those_that_share_most(report):
    related = related_variables(report.variables.mutual_information)
    assert related[:, 0].tolist() == list(range(NUM_VARIABLES))
    assert related[1, 1] == 2
    assert related[2, 1] == 1


def test_the_page_holds_the_reports_numbers(report, images, tmp_path):
    page.write_page(report, images, tmp_path / "report.html", max_thumbnails=50)
    data = data_of(tmp_path / "report.html")
    shown = decoded(data["images"]["indices"])
    assert len(shown) == 50
    assert data["images"]["names"] == [report.names[index] for index in shown]
    variables = data["variables"]
    np.testing.assert_allclose(decoded(variables["entropies"]), report.variables.entropies, rtol=1e-6)
    np.testing.assert_array_equal(decoded(variables["imageBins"]), report.variables.bins[shown])
    counts = [np.bincount(column, minlength=NUM_BINS) for column in report.variables.bins.T]
    np.testing.assert_array_equal(decoded(variables["counts"]), counts)


@pytest.mark.parametrize(("side", "cells"), [(16, 16), (32, 16), (33, 17), (224, 56)])
def test_a_heat_map_is_summed_over_cells(report, side, cells):
    generator = np.random.default_rng(0)
    heat = generator.normal(size=(side, side)).astype(np.float32)
    attribution = dataclasses.replace(report.attributions[0], heat=heat)
    data = page_data(dataclasses.replace(report, attributions=[attribution]), np.arange(3), np.ones(3, dtype=bool))
    packed = decoded(data["attributions"][0]["heat"])
    assert packed.shape == (cells, cells)
    step = -(-side // cells)
    sums = np.add.reduceat(np.add.reduceat(heat, np.arange(0, side, step), 0), np.arange(0, side, step), 1)
    np.testing.assert_allclose(packed, 127 * sums / np.abs(sums).max(), atol=0.51)


def test_skipped_images_do_not_shift_the_pictures(report, pixels, tmp_path):
    """The report's image 0 is the second that was given."""
    names = ["broken.png", *report.names]
    moved = dataclasses.replace(report, positions=report.positions + 1, skipped=[("broken.png", "truncated")])

    class Given(SYNTHETIC["Images"]):
        def __getitem__(self, index):
            assert index > 0, "the broken image was opened"
            return Image.fromarray(pixels[index - 1])

    page.write_page(moved, Given(pixels, names), tmp_path / "moved.html")
    page.write_page(report, SYNTHETIC["Images"](pixels, report.names), tmp_path / "plain.html")
    moved_sheets, sheets = (
        re.findall(r'id="sheet-\d+">(.*?)<', (tmp_path / name).read_text()) for name in ("moved.html", "plain.html")
    )
    assert moved_sheets == sheets
    assert len(sheets) == 2
    with pytest.raises(ValueError, match="images must be those of the report"):
        page.write_page(moved, SYNTHETIC["Images"](pixels, report.names), tmp_path / "other.html")


def test_a_page_without_room_for_an_image_is_refused(report, images, tmp_path):
    with pytest.raises(ValueError, match="max_thumbnails must be at least 1, got 0"):
        page.write_page(report, images, tmp_path / "report.html", max_thumbnails=0)


def test_numbers_that_json_lacks_are_absent(report, images):
    representation = dataclasses.replace(report.representation, alignment=float("nan"), uniformity=float("-inf"))
    shown, uniform = choose_images(report, 300)
    data = page_data(dataclasses.replace(report, representation=representation), shown, uniform)
    json.dumps(data, allow_nan=False)
    assert data["representation"]["alignment"] is data["representation"]["uniformity"] is None


@pytest.mark.parametrize("stop", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_page_is_whole_or_not_there(report, images, tmp_path, monkeypatch, stop):
    file = tmp_path / "report.html"
    file.write_text("the page of yesterday")
    write = Path.write_bytes

    def write_half(path, content):
        write(path, content[: len(content) // 2])
        raise stop

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(type(stop)):
        page.write_page(report, images, file)
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    assert file.read_text() == "the page of yesterday"


def test_names_cannot_leave_the_data(report, images, tmp_path):
    hostile = '</script><script>alert("x")</script>\n\u2028<!--'
    names = [hostile, "undecodable-\udcff.png", *report.names[2:]]
    evil = dataclasses.replace(report, names=names, title=hostile, checkpoint=hostile, classes=[hostile, "b", "c"])
    images.names = names
    page.write_page(evil, images, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<script>alert" not in text
    assert data_of(tmp_path / "report.html")["images"]["names"] == names


def test_only_the_pages_own_script_may_run(report, images, tmp_path):
    page.write_page(report, images, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"https?://(?!www\.w3\.org/)", text)


def test_thumbnails_keep_their_image_and_shape():
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    images = [Image.new("RGB", (100, 50), colours[index % 3]) for index in range(300)]
    sprites = make_sprites(images)
    assert len(sprites.sheets) == 2
    assert sprites.side == 64
    for index in (0, 1, 17, 255, 256, 299):
        sheet = Image.open(io.BytesIO(sprites.sheets[index // sprites.per_sheet])).convert("RGB")
        row, column = divmod(index % sprites.per_sheet, sprites.columns)
        middle = sheet.getpixel((column * 64 + 32, row * 64 + 32))
        edge = sheet.getpixel((column * 64 + 32, row * 64 + 4))
        np.testing.assert_allclose(middle, colours[index % 3], atol=12)
        np.testing.assert_allclose(edge, (128, 128, 128), atol=12)  # a wide image is whole, on grey


def test_thumbnails_shrink_to_their_budget():
    noise = np.random.default_rng(0).integers(256, size=(40, 64, 64, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in noise]
    full = sum(map(len, make_sprites(images).sheets))
    assert sum(map(len, make_sprites(images, budget=full * 2 // 3).sheets)) <= full * 2 // 3
