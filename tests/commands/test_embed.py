"""`imsvd-plugins embed`: what it writes, and what it does when something is wrong."""

import io
import resource
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from torch import nn

from imsvd_plugins import cli
from imsvd_plugins.data import progress
from imsvd_plugins.data.digits import load_digits
from imsvd_plugins.explain import embedding_files, images
from imsvd_plugins.lightly import IMSVD, IMSVDLoss, IMSVDProjectionHead
from imsvd_plugins.lightly.backbones import SmallCNN
from imsvd_plugins.lightly.data import digit_to_tensor

NUM_BINS, TEMPERATURE = 4, 0.5
NAMES = ["cat/1.png", "cat/2.PNG", 'dog/3 "quoted".bmp', "dog/5.tiff", "dog/deep/4\nline.png"]


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    module = IMSVD(
        8,
        None,
        backbone=SmallCNN(),
        projection_head=IMSVDProjectionHead(128, 16, 24),
        criterion=IMSVDLoss(NUM_BINS, TEMPERATURE),
    )
    # One look at the digits, so that they differ in their bins.
    norms = [layer for layer in module.modules() if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.momentum = 1.0
    scans = torch.stack([digit_to_tensor(Image.fromarray(scan)) for scan in load_digits("train")[0][:64]])
    with torch.no_grad():
        module.projection_head(module.backbone(scans))
    return module.eval()


@pytest.fixture(scope="module")
def checkpoint(module, tmp_path_factory):
    """What Lightning saves of the module, as the demo trains it."""
    content = {
        "pytorch-lightning_version": "2.6.0",
        "state_dict": module.state_dict(),
        "hyper_parameters": {"batch_size_per_device": 8},
        "DigitsDataModule": {"seed": 0},
        "imsvd_plugins_settings": {"criterion.num_bins": NUM_BINS, "criterion.temperature": TEMPERATURE},
    }
    file = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    torch.save(content, file)
    return file


@pytest.fixture
def photos(tmp_path):
    """Images of one size in folders of their class, and other files."""
    folder = tmp_path / "photos"
    for name, scan in zip(NAMES, load_digits("test")[0], strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scan).save(folder / name)
    (folder / "labels.csv").write_text("")
    return folder


@pytest.fixture
def embed(checkpoint, capsys):
    def run(photos, out, *options, status=0, checkpoint=checkpoint):
        arguments = ["embed", str(checkpoint), str(photos), "--out", str(out), "--device", "cpu", "--workers", "0"]
        try:
            found = cli.main([*arguments, *map(str, options)])
        except SystemExit as stopped:
            found = stopped.code
        printed = capsys.readouterr()
        assert found == status, printed
        return printed.err if status else printed.out + printed.err

    return run


@torch.no_grad()
def expected(module, folder, names):
    """By the module itself: features, and each variable's most probable bin and its probability."""
    batch = torch.stack([digit_to_tensor(Image.open(folder / name).convert("RGB")) for name in names])
    features = module.backbone(batch)
    logits = module.projection_head(features).view(len(names), -1, NUM_BINS)
    probabilities = np.exp(logits.numpy() / TEMPERATURE)
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    return features.numpy(), probabilities.argmax(axis=2), probabilities.max(axis=2)


class TestFiles:
    def test_npz(self, module, photos, tmp_path, embed):
        printed = embed(photos, tmp_path / "out.npz", "--batch-size", 2)
        assert "5 images, 128 features, 6 variables of 4 bins (IMSVD)" in printed
        assert "Left out 1 file without an image's suffix (.csv)." in printed
        features, bins, probabilities = expected(module, photos, NAMES)
        with np.load(tmp_path / "out.npz") as file:
            assert file["path"].tolist() == [str(photos / name) for name in NAMES]
            assert (file["label"].tolist(), file["classes"].tolist()) == ([0, 0, 1, 1, 1], ["cat", "dog"])
            assert np.allclose(file["features"], features, rtol=1e-5, atol=1e-6)
            assert np.array_equal(file["bins"], bins)
            assert file["bins"].dtype == np.uint8
            assert np.allclose(file["bin_probabilities"], probabilities, rtol=1e-4)
        assert len(np.unique(bins, axis=0)) == 5

    def test_parquet_is_read_by_pandas(self, module, photos, tmp_path, embed):
        embed(photos, tmp_path / "out.parquet", "--batch-size", 2)
        table = pd.read_parquet(tmp_path / "out.parquet")
        features, bins, probabilities = expected(module, photos, NAMES)
        assert table.columns.tolist() == ["path", "label", "features", "bins", "bin_probabilities"]
        assert table["path"].tolist() == [str(photos / name) for name in NAMES]
        assert table["label"].tolist() == ["cat", "cat", "dog", "dog", "dog"]
        assert np.allclose(np.stack(table["features"]), features, rtol=1e-5, atol=1e-6)
        assert np.array_equal(np.stack(table["bins"]), bins)
        assert np.allclose(np.stack(table["bin_probabilities"]), probabilities, rtol=1e-4)
        # As DuckDB, which embedding-atlas reads it with, wants vectors.
        assert str(parquet.read_schema(tmp_path / "out.parquet").field("features").type) == (
            "fixed_size_list<element: float>[128]"
        )

    def test_a_parquet_file_is_written_in_row_groups(self, photos, tmp_path, embed, monkeypatch):
        monkeypatch.setattr(embedding_files, "_GROUP_BYTES", 1)
        embed(photos, tmp_path / "out.parquet", "--batch-size", 2)
        assert parquet.ParquetFile(tmp_path / "out.parquet").num_row_groups == 3
        assert len(pd.read_parquet(tmp_path / "out.parquet")) == 5

    def test_unlabelled_images(self, photos, tmp_path, embed):
        embed(photos / "dog", tmp_path / "out.parquet")
        embed(photos / "dog", tmp_path / "out.npz")
        assert pd.read_parquet(tmp_path / "out.parquet")["label"].isna().all()
        assert not {"label", "classes"} & set(np.load(tmp_path / "out.npz"))

    def test_loader_processes_change_nothing(self, photos, tmp_path, embed):
        (photos / "cat" / "broken.png").write_bytes(b"")
        for workers in (0, 1):
            printed = embed(photos, tmp_path / f"{workers}.npz", "--batch-size", 2, "--workers", workers)
            assert "Skipped 1 of 6 images" in printed
        with np.load(tmp_path / "0.npz") as one, np.load(tmp_path / "1.npz") as other:
            assert all(np.array_equal(one[name], other[name]) for name in one)

    def test_one_that_exists_is_kept_unless_forced(self, photos, tmp_path, embed):
        out = tmp_path / "out.npz"
        out.write_text("mine")
        assert "give another --out, or --force" in embed(photos, out, status=2)
        assert out.read_text() == "mine"
        embed(photos, out, "--force")
        assert zipfile.is_zipfile(out)


class TestUnreadableImages:
    def test_are_skipped_counted_and_named(self, photos, tmp_path, embed):
        (photos / "cat" / "empty.jpg").write_bytes(b"")
        (photos / "dog" / "a\nb.png").write_bytes((photos / "cat" / "1.png").read_bytes()[:60])
        printed = embed(photos, tmp_path / "out.npz", "--batch-size", 3)
        assert "5 images, 128 features" in printed
        assert "Skipped 2 of 7 images that cannot be read:\n  cat/empty.jpg: cannot identify" in printed
        # A name cannot command the terminal.
        assert "  dog/a\\nb.png: " in printed
        with np.load(tmp_path / "out.npz") as file:
            assert file["path"].tolist() == [str(photos / name) for name in NAMES]
            assert file["label"].tolist() == [0, 0, 1, 1, 1]

    def test_none_readable_is_an_error(self, tmp_path, embed):
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.png").write_bytes(b"no image")
        printed = embed(tmp_path / "photos", tmp_path / "out.npz", status=2)
        assert "none of the 1 images can be read; 'a.png': cannot identify image file" in printed
        assert [path.name for path in tmp_path.iterdir()] == ["photos"]


class TestInterruptions:
    @pytest.mark.parametrize("suffix", [".npz", ".parquet"])
    def test_ctrl_c_leaves_what_was_there(self, suffix, photos, tmp_path, embed, monkeypatch):
        out = tmp_path / f"out{suffix}"
        out.write_text("mine")
        read = images.read_image

        def interrupted(file):
            if "dog" in file:
                raise KeyboardInterrupt
            return read(file)

        monkeypatch.setattr(images, "read_image", interrupted)
        assert "imsvd-plugins: interrupted" in embed(photos, out, "--force", "--batch-size", 1, status=130)
        assert out.read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, "photos"]

    @pytest.mark.parametrize("suffix", [".npz", ".parquet"])
    def test_a_full_disk_leaves_what_was_there(self, suffix, tmp_path, embed):
        out = tmp_path / f"out{suffix}"
        out.write_text("mine")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # No file may be larger than 100 kB.
        try:
            printed = embed("digits:test", out, "--force", status=2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert f"{out} cannot be written: " in printed
        assert out.read_text() == "mine"
        assert [path.name for path in tmp_path.iterdir()] == [out.name]


class TestWrongInput:
    def check(self, embed, pattern, *arguments, checkpoint=None):
        others = {} if checkpoint is None else {"checkpoint": checkpoint}
        line = embed(*arguments, status=2, **others).splitlines()[-1]
        assert pattern in line, line

    def test_of_the_checkpoint(self, checkpoint, photos, tmp_path, embed):
        damaged = tmp_path / "damaged.ckpt"
        damaged.write_bytes(checkpoint.read_bytes()[:5000])
        out = tmp_path / "out.npz"
        self.check(embed, "is no whole checkpoint", photos, out, checkpoint=damaged)
        self.check(embed, "'absent.pth' is absent", photos, out, checkpoint=Path("absent.pth"))
        torch.save({"state_dict": {"encoder.weight": torch.zeros(2, 2)}}, damaged)
        self.check(embed, "do not tell what network they are of", photos, out, checkpoint=damaged)
        assert not out.exists()

    def test_of_another_width(self, photos, tmp_path, embed):
        config = tmp_path / "config.yaml"
        config.write_text(
            "model:\n  class_path: imsvd_plugins.lightly.IMSVD\n  init_args:\n    projection_head:\n"
            "      class_path: imsvd_plugins.lightly.IMSVDProjectionHead\n"
            "      init_args: {input_dim: 128, hidden_dim: 32, output_dim: 24}\n"
        )
        pattern = (
            "layers.0.bias is (16,) in the checkpoint and (32,) in the settings' projection_head, and 6 more differ."
        )
        self.check(embed, pattern, photos, tmp_path / "out.npz", "--config", config)

    def test_of_variables_that_do_not_fit(self, checkpoint, photos, tmp_path, embed):
        content = torch.load(checkpoint, weights_only=True)
        content["imsvd_plugins_settings"]["criterion.num_bins"] = 5
        torch.save(content, tmp_path / "other.ckpt")
        pattern = "num_bins must divide the projector's output dimension D = 24, got num_bins = 5"
        self.check(embed, pattern, photos, tmp_path / "out.npz", checkpoint=tmp_path / "other.ckpt")

    def test_of_the_images(self, tmp_path, embed):
        (tmp_path / "empty").mkdir()
        self.check(embed, "holds nothing", tmp_path / "empty", tmp_path / "out.npz")
        self.check(embed, "is absent", tmp_path / "absent", tmp_path / "out.npz")

    def test_of_images_that_differ_in_size(self, photos, tmp_path, embed):
        Image.new("RGB", (20, 30)).save(photos / "cat" / "large.png")
        pattern = "'cat/large.png' gives (3, 30, 20), and an image before it (3, 16, 16). Give --size"
        self.check(embed, pattern, photos, tmp_path / "out.npz")
        embed(photos, tmp_path / "out.npz", "--size", 24)
        assert len(np.load(tmp_path / "out.npz")["path"]) == 6

    def test_of_the_options(self, photos, tmp_path, embed):
        self.check(embed, "--out must end with .npz or .parquet", photos, tmp_path / "out.csv")
        self.check(embed, "--out must be a file in an existing folder", photos, tmp_path / "absent" / "out.npz")
        self.check(embed, "--device must be one of this machine's", photos, tmp_path / "o.npz", "--device", "abacus")
        self.check(embed, "--backbone must be timm/NAME or", photos, tmp_path / "o.npz", "--backbone", "resnet50")
        both = ("--backbone", "timm/resnet18", "--config", "x.py")
        self.check(embed, "--config gives settings: leave one of them out", photos, tmp_path / "o.npz", *both)
        self.check(embed, "there is no file 'no.yaml'", photos, tmp_path / "o.npz", "--config", "no.yaml")


class TestExportedBackbones:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "photos"
        folder.mkdir()
        for index in range(2):
            pixels = np.random.default_rng(index).integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
        return folder

    def exported(self, backbone, library, folder, suffix):
        torch.save(nn.ModuleDict({"backbone": backbone}).state_dict(), folder / "model.pt")
        out = folder / f"{library}{suffix}"
        assert cli.main(["export", str(folder / "model.pt"), "--format", library, "--output", str(out)]) == 0
        return out

    @torch.no_grad()
    def check(self, backbone, folder, tmp_path, size, library, embed, *options, suffix=".pth"):
        from imsvd_plugins.explain.standard_views import standard_plain_view

        file = self.exported(backbone, library, tmp_path, suffix)
        printed = embed(folder, tmp_path / "out.npz", *options, checkpoint=file)
        assert f"crops of {size} pixels and ImageNet's normalisation are assumed" in printed
        # Before the images pass, which may take hours.
        assert printed.index("are assumed") < printed.rindex("Wrote")
        batch = torch.stack([standard_plain_view(size)(image) for image in images.open_images(str(folder))])
        features = backbone.eval()(batch).numpy()
        assert np.allclose(np.load(tmp_path / "out.npz")["features"], features, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("library", ["torchvision", "timm", "torch"])
    def test_resnets_are_known_by_their_weights(self, library, folder, tmp_path, embed):
        from imsvd_plugins.lightly.backbones import ResNet

        backbone = ResNet(18, small_images=True)
        self.check(backbone, folder, tmp_path, 32, library, embed)
        (tmp_path / "out.npz").unlink()
        self.check(backbone, folder, tmp_path, 32, library, embed, suffix=".safetensors")

    def test_of_arrays_nothing_is_assumed(self, folder, tmp_path, embed):
        from imsvd_plugins.lightly.backbones import ResNet

        file = self.exported(ResNet(18, in_channels=13), "timm", tmp_path, ".pth")
        printed = embed(folder, tmp_path / "out.npz", checkpoint=file, status=2)
        assert "the network takes 13 channel(s), and its views give 3: a training by" in printed.splitlines()[-1]

    def test_vits_too(self, folder, tmp_path, embed):
        timm = pytest.importorskip("timm")
        vit = timm.models.VisionTransformer(32, 16, embed_dim=128, depth=2, num_heads=2, num_classes=0)
        self.check(vit, folder, tmp_path, 32, "timm", embed)

    def test_any_of_timm_by_its_name(self, folder, tmp_path, embed):
        timm = pytest.importorskip("timm")
        network = timm.create_model("mobilenetv3_small_050", num_classes=0)
        self.check(network, folder, tmp_path, 224, "torch", embed, "--backbone", "timm/mobilenetv3_small_050")
        for name, message in (
            ("timm/resnet18", "--backbone timm/resnet18 of the checkpoint is not the one of its settings"),
            ("timm/absent", "timm has no model 'absent'"),
            ("torchvision/absent", "torchvision has no model of images 'absent'"),
        ):
            out = tmp_path / "other.npz"
            printed = embed(folder, out, "--backbone", name, checkpoint=tmp_path / "torch.pth", status=2)
            assert message in printed.splitlines()[-1]


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr("sys.stderr", text)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with progress.ImageProgress(7) as on_images:
        on_images(5)
        on_images(2)
    assert text.getvalue().splitlines() == ["5 of 7 images", "7 of 7 images"]
