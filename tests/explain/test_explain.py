"""Reports from real images: a planted truth is found, batches make no difference, and bad images are named."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import normalize, to_tensor

from imsvd_plugins.explain import draw_overview, draw_representation, explain, write_figures
from imsvd_plugins.explain.encoder import Encoder
from imsvd_plugins.explain.images import Images, UnreadableImageError
from imsvd_plugins.losses import HSICLoss, IMSVDLoss

SIZE, MARK, M, K = 32, 8, 2, 2
RED, BLUE = (230, 40, 40), (50, 60, 230)


class Marked(Images):
    """A red or a blue mark in the upper left corner, which is the label, of a background that is dark or bright."""

    source, classes, ignored = "marked", ["red", "blue"], []

    def __init__(self, num, labelled=True, unreadable=()):
        rng = np.random.default_rng(0)
        marks, bright = rng.integers(0, 2, (2, num))
        coarse = rng.integers(22, 42, (num, 4, 4, 3)) + np.where(bright, 112, 80)[:, None, None, None]
        self.labels = marks if labelled else None
        self.names = [f"image {index}" for index in range(num)]
        self.unreadable = unreadable
        self._images = [Image.fromarray(each.astype(np.uint8)).resize((SIZE, SIZE)) for each in coarse]
        for image, mark in zip(self._images, marks, strict=True):
            image.paste((RED, BLUE)[mark], (0, 0, MARK, MARK))

    def _read(self, index):
        if index in self.unreadable:
            raise OSError("broken data stream")
        return self._images[index]


def plain(image):
    return normalize(to_tensor(image), [0.5] * 3, [0.25] * 3)


def disturbed(images):
    """What hides an image's own background, but neither its brightness nor the mark."""
    clouds = nn.functional.interpolate(0.4 * torch.randn(len(images), 3, 4, 4), (SIZE, SIZE), mode="bilinear")
    return images + clouds + 0.2 * torch.randn_like(images)


def augment(image):
    return disturbed(plain(image)[None])[0]


def parts():
    torch.manual_seed(0)
    layers = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    hidden = [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, M * K, bias=False)]
    return nn.Sequential(*layers), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *hidden)


def encoder_of(backbone, projector, method="IMSVD", num_bins=K):
    return Encoder(
        backbone, projector, lambda maps: maps.mean(dim=(2, 3)), method=method, num_bins=num_bins, temperature=1.0,
        plain=plain, augment=augment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    """An IMSVD model, trained on the marked images without their labels."""
    backbone, projector = parts()
    criterion = IMSVDLoss(num_bins=K)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *projector.parameters()], lr=3e-3)
    views = torch.stack([plain(image) for image in Marked(384)])
    for _ in range(14):
        for batch in views[torch.randperm(len(views))].split(128):
            loss = criterion(*(projector(backbone(disturbed(batch))) for _ in range(2)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return encoder_of(backbone, projector)


@pytest.fixture(scope="module")
def report(trained):
    return explain(trained, Marked(384), attributions=4, shuffles=99)


def test_a_planted_mark_is_found(report):
    """One variable says what the mark is, the other does not; and the evidence for it lies on the mark."""
    variables = report.variables
    first, second = np.argsort(-variables.label_information)
    assert variables.label_information[first] > 0.9
    assert variables.label_p_value[first] <= 0.01
    assert variables.label_information[second] < 0.1
    assert variables.label_p_value[second] > 0.05
    assert (variables.purity[first] > 0.95).all()
    assert (variables.purity_p_value[first] <= 0.01).all()
    assert (variables.purity_p_value[second] > 0.05).all()
    assert variables.agreement[first] > 0.9 > variables.agreement_by_chance[first]

    located = {method: [] for method in ("integrated gradients", "Grad-CAM")}
    for each in report.attributions:
        if each.variable == first:
            heat = np.abs(each.heat)
            located[each.method].append(heat[:MARK, :MARK].sum() / heat.sum())
    assert len(located["integrated gradients"]) == K
    assert min(located["integrated gradients"]) > 0.5
    # Of the map's 16 places one is the mark, and each sees beyond its own.
    assert min(located["Grad-CAM"]) > 2 / 16
    assert max(each.completeness for each in report.attributions if each.method == "integrated gradients") <= 0.02


def test_attributions_begin_with_what_says_most_about_the_labels(report):
    variables = report.variables
    first = report.attributions[0]
    assert first.variable == variables.label_information.argmax()
    assert first.image == variables.examples[first.variable][first.bin].surest[0]
    choices = [(each.variable, each.bin) for each in report.attributions[::2]]
    assert sorted(choices) == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("settings", [{"batch_size": 7}, {"batch_size": 384, "num_workers": 2}])
def test_batches_and_loaders_make_no_difference(trained, report, settings):
    found = explain(trained, Marked(384), attributions=0, shuffles=99, **settings)
    for name in ("joint", "marginals", "mutual_information", "agreement", "bins", "label_p_value"):
        of_found, expected = getattr(found.variables, name), getattr(report.variables, name)
        np.testing.assert_allclose(of_found, expected, atol=1e-5, err_msg=name)
    assert found.representation.rankme == pytest.approx(report.representation.rankme, rel=1e-4)
    np.testing.assert_allclose(found.representation.gram, report.representation.gram, atol=1e-5)


def test_random_states_of_the_program_go_on_as_without_a_report(trained):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    explain(trained, Marked(20), attributions=0, shuffles=1)
    assert torch.equal(torch.rand(3), expected)


def test_unreadable_images_are_named_and_the_others_keep_their_places(trained):
    whole = explain(trained, Marked(40), attributions=0, shuffles=1, seed=3)
    found = explain(trained, Marked(40, unreadable=(0, 17)), attributions=2, shuffles=1, seed=3, batch_size=8)
    assert found.skipped == [("image 0", "broken data stream"), ("image 17", "broken data stream")]
    assert found.positions.tolist() == [index for index in range(40) if index not in (0, 17)]
    assert found.names == [f"image {index}" for index in found.positions]
    np.testing.assert_array_equal(found.labels, whole.labels[found.positions])
    np.testing.assert_array_equal(found.variables.bins, whole.variables.bins[found.positions])
    assert sorted(found.representation.map_images) == list(range(38))


def test_a_sample_is_of_readable_images(trained):
    found = explain(trained, Marked(60, unreadable=range(50)), attributions=0, shuffles=1, sample=6)
    assert len(set(found.representation.map_images)) == 6


@pytest.mark.parametrize("readable", [0, 1])
def test_too_few_readable_images_are_an_error(trained, readable):
    images = Marked(9, unreadable=range(9 - readable))
    message = rf"at least 2 that can be read, got {readable} of 9; image 0: broken data stream"
    with pytest.raises(ValueError, match=message):
        explain(trained, images)


def test_without_labels_clusters_are_compared(trained):
    found = explain(trained, Marked(40, labelled=False), attributions=1, shuffles=1)
    assert found.labels is None
    assert found.variables.purity is None
    assert found.variables.label_p_value is None
    assert found.representation.groups == [f"cluster {index}" for index in range(10)]
    assert len(found.attributions) == 2


def test_unknown_labels_take_no_part(trained):
    images = Marked(384)
    images.labels[::2] = -1
    found = explain(trained, images, attributions=0, shuffles=99)
    assert found.representation.groups == ["red", "blue"]
    assert found.variables.label_information.max() > 0.9


def test_ssl_hsic_is_described_by_its_own_kernel():
    backbone, projector = parts()
    encoder = encoder_of(backbone, projector, method="SSLHSIC", num_bins=None)
    encoder.criterion = HSICLoss(num_features=256)
    found = explain(encoder, Marked(60), attributions=3)
    assert found.variables is None
    assert found.attributions == []
    assert found.representation.neighbours_by_code is None
    assert found.representation.similarity == "InverseMultiquadric kernel of the projections"
    assert 0 < found.representation.random_feature_error < 0.2
    figure = draw_representation(found.representation, found.labels, found.classes)
    assert len(figure.axes) == 4


def test_a_diverged_network_is_refused():
    backbone, projector = parts()
    backbone[0].weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite values: its training has diverged"):
        explain(encoder_of(backbone, projector), Marked(8))


@pytest.mark.parametrize(("name", "value"), [("sample", 1), ("shuffles", 0), ("batch_size", 0), ("attributions", -1)])
def test_numbers_out_of_range_are_refused(trained, name, value):
    with pytest.raises(ValueError, match=f"{name} must be an int >= "):
        explain(trained, Marked(8), **{name: value})


def test_a_report_is_saved_as_json_and_arrays(report, tmp_path):
    report.save(tmp_path / "new")
    found = json.loads((tmp_path / "new" / "report.json").read_text())
    assert found["method"] == "IMSVD"
    assert found["variables"]["label_information"] == report.variables.label_information.tolist()
    assert found["variables"]["examples"][0][1]["surest"] == report.variables.examples[0][1].surest
    assert found["attributions"][1]["completeness"] is None  # Grad-CAM has none
    with np.load(tmp_path / "new" / "report.npz") as arrays:
        np.testing.assert_array_equal(arrays["variables.joint"], report.variables.joint)
        np.testing.assert_array_equal(arrays["representation.gram"], report.representation.gram)
        np.testing.assert_array_equal(arrays["attributions.0.heat"], report.attributions[0].heat)


def test_names_that_are_no_plain_text_are_saved(trained, tmp_path):
    images = Marked(9)
    images.names[:3] = ["<script>\n", '"$x_1$"', "\udcff"]
    explain(trained, images, attributions=0, shuffles=1).save(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["names"][:3] == images.names[:3]


def test_figures_are_written(report, tmp_path):
    for file in write_figures(report, tmp_path):
        with Image.open(file) as image:
            assert min(image.size) > 400
    assert sorted(file.name for file in tmp_path.iterdir()) == ["overview.png", "representation.png"]


def test_the_overview_shows_the_variables_in_the_order_of_their_likeness(report):
    figure = draw_overview(report.variables)
    axes = {axis.get_title().split("\n")[0]: axis for axis in figure.axes}
    entropies = axes["entropies, sorted"].lines[1].get_ydata()
    np.testing.assert_array_equal(entropies, np.sort(report.variables.entropies)[::-1])
    labels = [text.get_text() for text in axes["mutual information with the label"].get_yticklabels()]
    first = report.variables.label_information.argmax()
    assert labels == [str(first), f"{1 - first} (n.s.)"]
    shown = axes["normalised mutual information"].images[0].get_array()
    order = report.variables.order
    assert shown[0, 1] == report.variables.mutual_information[order[0], order[1]]


@pytest.mark.parametrize("name", ["$\\frac", "_hidden", "a\nb", "\x1b[2J"])
def test_names_of_classes_are_shown_as_they_are(report, tmp_path, name):
    figure = draw_representation(report.representation, report.labels, [name, "b"])
    figure.savefig(tmp_path / "figure.png")
    assert len(figure.axes[-2].get_legend().get_texts()) == 2


class OfSeveralSizes(Marked):
    def _read(self, index):
        return super()._read(index).resize((SIZE + index % 2, SIZE))


def test_random_views_may_have_another_size_than_the_plain_one(trained):
    other = encoder_of(trained.backbone, trained.projector)
    other.augment = lambda image: plain(image.resize((SIZE // 2, SIZE // 2)))
    found = explain(other, Marked(12), attributions=0, shuffles=1)
    assert len(found.names) == 12


@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_make_no_batch_are_named(trained, workers):
    other = encoder_of(trained.backbone, trained.projector)
    other.augment = plain
    with pytest.raises(ValueError, match=r"'image 1' gives .*, and an image before it .* Give --size"):
        explain(other, OfSeveralSizes(12), num_workers=workers)


def test_images_that_the_network_does_not_take_are_said(trained):
    flat = encoder_of(trained.backbone, nn.Sequential(nn.Flatten(), nn.Linear(64 * 16, M * K)))
    flat.plain = flat.augment = lambda image: plain(image.resize((8, 8)))
    with pytest.raises(ValueError, match=r"the network does not take images of \(3, 8, 8\): .* Give another --size"):
        explain(flat, Marked(12))


def test_an_unreadable_image_is_recognised_by_its_class():
    with pytest.raises(UnreadableImageError):
        Marked(3, unreadable=[1])[1]


def test_what_embed_imports_leaves_the_slow_libraries_out():
    code = (
        "import sys, imsvd_plugins.encoders, imsvd_plugins.explain.embed, imsvd_plugins.explain.images\n"
        "print(sorted({'captum', 'jinja2', 'matplotlib', 'scipy', 'sklearn'} & set(sys.modules)))\n"
        "from imsvd_plugins.explain import *\n"
        "import imsvd_plugins.explain as package\n"
        "print(all(callable(globals()[name]) for name in package.__all__), set(package.__all__) <= set(dir(package)))\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines() == ["[]", "True True"]


@pytest.mark.parametrize("absent", ["captum", "matplotlib"])
def test_the_error_without_a_library_names_it_and_the_extra(absent):
    code = f"import sys; sys.modules[{absent!r}] = None; import imsvd_plugins.explain"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    needs = f"imsvd_plugins.explain needs {absent}, which is not installed: pip install 'imsvd_plugins[explain]'"
    assert finished.stderr.splitlines()[-1] == f"imsvd_plugins.extras.MissingExtraError: {needs}"
