"""`imsvd-plugins lightly`: every shipped YAML config, shrunk; resuming; wrong input. Two ranks: test_command_ranks."""

import io
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torchvision.transforms import v2 as T

from imsvd_plugins import cli
from imsvd_plugins.commands.lightly.command import main
from imsvd_plugins.data.array_files import ArrayFormat, read_array
from imsvd_plugins.encoders import load_encoder
from imsvd_plugins.lightly import IMSVD, IMSVDLoss, IMSVDProjectionHead
from imsvd_plugins.lightly.backbones import SmallCNN

CONFIGS = sorted((Path(__file__).parents[2] / "lightly_examples" / "configs").glob("*.yaml"))
ARRAYS = [path for path in CONFIGS if "ArraysDataModule" in path.read_text()]
# Those of folders without labels: test_images_command.
OF_LABELLED_IMAGES = [path for path in CONFIGS if path not in ARRAYS and not path.stem.endswith("_images")]
CLASSES, BATCH = 10, 4
SMALL = {
    "trainer.accelerator": "cpu",
    "trainer.devices": "1",
    "trainer.num_nodes": "1",
    "trainer.strategy": "auto",
    "trainer.sync_batchnorm": "false",
    "trainer.max_epochs": "1",
    "trainer.limit_train_batches": "2",
    "trainer.limit_val_batches": "1",
    "trainer.num_sanity_val_steps": "0",
    "trainer.check_val_every_n_epoch": "1",
    "trainer.log_every_n_steps": "1",
    "trainer.enable_progress_bar": "false",
    "trainer.enable_model_summary": "false",
    "trainer.logger": "pytorch_lightning.loggers.CSVLogger",
    "trainer.logger.save_dir": ".",
    "model.init_args.warmup_epochs": "1",
    "data.init_args.batch_size_per_device": str(BATCH),
    "data.init_args.num_workers": "0",
}

pytestmark = [
    # A last checkpoint is replaced, as it is meant.
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    # The averaged weights are the checkpoint's own; there is nothing more to restore for a validation.
    pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback, but loading a checkpoint outside"),
    # LightningCLI uses what jsonargparse is giving up.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]


def options(settings):
    return [word for key, value in settings.items() for word in (f"--{key}", value)]


def jpeg(generator, size):
    file = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def image_roots(tmp_path_factory):
    """Random images in each layout that the data modules read: {data module: root}."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    packed = {"classes": [f"class {label}" for label in range(CLASSES)]}
    for part in ("train", "test"):
        files = [jpeg(generator, 32) for _ in range(24)]
        packed[f"{part}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        packed[f"{part}_offsets"] = np.cumsum([0, *map(len, files)])
        packed[f"{part}_labels"] = np.arange(24) % CLASSES
    np.savez(folder / "packed.npz", **packed)
    for part in ("train", "val"):
        for label in range(CLASSES):
            of_class = folder / "folders" / part / f"class_{label}"
            of_class.mkdir(parents=True)
            for index in range(3):
                (of_class / f"{index}.jpeg").write_bytes(jpeg(generator, 64))
    return {"CIFAR10DataModule": folder / "packed.npz", "ImageFolderDataModule": folder / "folders"}


@pytest.fixture(scope="module")
def array_roots(tmp_path_factory):
    """Random arrays of 13 bands, and of 16 bits: {name of the config: root}."""
    folder = tmp_path_factory.mktemp("arrays")
    generator = np.random.default_rng(0)
    for name in ("imsvd_multispectral", "imsvd_16bit"):
        (folder / name).mkdir()
    for index in range(12):
        bands = generator.integers(0, 10_000, (13, 40, 48)).astype(np.uint16)
        np.save(folder / "imsvd_multispectral" / f"{index}.npy", bands)
        grey = generator.integers(0, 65_536, (40, 48)).astype(np.uint16)
        Image.fromarray(grey).save(folder / "imsvd_16bit" / f"{index}.png")
    return folder


# Lightning's word for a training without labels.
@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("config", ARRAYS, ids=lambda path: path.stem)
def test_a_shipped_config_of_arrays_fits_with_its_workers_and_embeds(config, array_roots, tmp_path, monkeypatch, capfd):
    """Without labels; and `embed` gives the features of the files."""
    monkeypatch.chdir(tmp_path)
    root = array_roots / config.stem
    settings = {**SMALL, "trainer.default_root_dir": str(tmp_path), "data.init_args.root": str(root)}
    del settings["data.init_args.num_workers"]
    main(["fit", "--config", str(config), *options(settings)])
    file = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(file, weights_only=True)["global_step"] == 2
    metrics = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text()
    assert {"train_loss", "train_rankme"} <= set(metrics.splitlines()[0].split(","))

    assert cli.main(["embed", str(file), str(root), "--out", "out.npz", "--device", "cpu", "--workers", "0"]) == 0
    data = yaml.safe_load(config.read_text())["data"]["init_args"]
    resize, crop = (step["init_args"]["size"] for step in data["val_transform"]["init_args"]["transforms"])
    model = LightningModule.load_from_checkpoint(file, weights_only=True).eval()
    array = read_array(root / "0.npy" if data["channels"] > 1 else root / "0.png", ArrayFormat(data["channels"]))
    plain = T.Compose([T.Resize(resize), T.CenterCrop(crop)])(torch.from_numpy(array.astype(np.float32)))
    with torch.no_grad():
        expected = model.backbone((plain[None] - data["mean"]) / data["std"])
    with np.load("out.npz") as found:
        assert found["features"].shape == (12, 512)
        np.testing.assert_allclose(found["features"][0], expected[0], rtol=1e-3, atol=1e-4)
    capfd.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["explain", str(file), str(root), "--out", "report", "--device", "cpu"])
    assert f"this network takes arrays of {data['channels']} channel(s)" in capfd.readouterr().err


# In two steps of four images, at a rate that is meant to come after ten epochs of warm-up.
@pytest.mark.filterwarnings("ignore:The representation has collapsed")
@pytest.mark.parametrize("config", OF_LABELLED_IMAGES, ids=lambda path: path.stem)
def test_a_shipped_config_fits_and_validates(config, image_roots, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    module = yaml.safe_load(config.read_text())["data"]["class_path"].rpartition(".")[2]
    settings = {**SMALL, "trainer.default_root_dir": str(tmp_path)}
    if "_vit_" in config.stem:
        settings["model.init_args.backbone.init_args.options"] = '{"depth": 2}'  # of 12 blocks
    elif "_imagenet" in config.stem and "nette" not in config.stem:
        for view in ("1", "2"):  # 224 pixels by default
            key = f"data.init_args.transform.init_args.view_{view}_transform"
            settings |= {key: f"lightly.transforms.BYOLView{view}Transform", f"{key}.init_args.input_size": "64"}
    if module in image_roots:
        settings["data.init_args.root"] = str(image_roots[module])
    main(["fit", "--config", str(config), *options(settings)])
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    metrics = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text()
    assert {"train_loss", "train_rankme", "val_online_cls_top1"} <= set(metrics.splitlines()[0].split(","))

    # In one line, with the networks, which none of the words here describes.
    model = LightningModule.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert model.state_dict().keys() == checkpoint["state_dict"].keys()
    assert all(torch.equal(value, checkpoint["state_dict"][name]) for name, value in model.state_dict().items())

    # And from the file alone, with the views of its training.
    encoder = load_encoder(tmp_path / "checkpoints" / "last.ckpt", device="cpu")
    image = Image.open(io.BytesIO(jpeg(np.random.default_rng(1), 32)))
    plain = encoder.plain(image).unsqueeze(0)
    with torch.no_grad():
        expected = model.eval().projection_head(model.backbone(plain).flatten(1))
        torch.testing.assert_close(encoder.projections(plain), expected)
    assert (encoder.method, encoder.notes) == (type(model).__name__, ())
    assert encoder.num_bins == getattr(model.criterion, "num_bins", None)
    side = {"CIFAR10DataModule": 32, "DigitsDataModule": 32}.get(module, 128 if "nette" in config.stem else 224)
    of_training = 64 if any(key.endswith("input_size") for key in settings) else side
    assert (plain.shape[-1], encoder.augment(image).shape) == (side, (3, of_training, of_training))

    capfd.readouterr()
    main(["validate", "--config", str(config), *options(settings), "--ckpt_path", "last"])
    shown = capfd.readouterr().out
    assert "val_online_cls_top1" in shown
    assert ("val_knn_top1" in shown) == ("KNNCallback" in config.read_text())


def recipe(name):
    """A config's trainer and model, the transform's two views and the batch of all devices."""
    (path,) = (path for path in CONFIGS if path.stem == name)
    config = yaml.safe_load(path.read_text())
    data, trainer = config["data"]["init_args"], config["trainer"]
    batch = trainer["devices"] * trainer.get("num_nodes", 1) * data["batch_size_per_device"]
    return trainer, config["model"].get("init_args", {}), data["transform"].get("init_args", {}), batch


def test_imsvd_on_cifar10_is_the_papers():
    trainer, model, views, batch = recipe("imsvd_cifar10")
    assert (trainer["max_epochs"], batch) == (800, 512)
    assert {name: part["init_args"] for name, part in model.items() if isinstance(part, dict)} == {
        "backbone": {"depth": 18, "small_images": True, "zero_init_residual": False},
        "projection_head": {"input_dim": 512, "hidden_dim": 1024, "output_dim": 1024, "num_layers": 3},
        "criterion": {"num_bins": 32, "gather_distributed": True},
        "optimizer": {"lr": 0.1 * batch / 256, "momentum": 0.9, "weight_decay": 5e-4},
    }
    assert model["optimizer"]["class_path"] == "torch.optim.SGD"
    assert (model["warmup_epochs"], model["decay_norms_and_biases"]) == (10, True)
    # Jitter, grayscale and flip are Lightly's defaults, which are BYOL's; the first view has no solarization.
    assert views["view_1_transform"] == views["view_2_transform"]
    assert views["view_1_transform"]["class_path"] == "lightly.transforms.BYOLView1Transform"
    settings = {"input_size": 32, "min_scale": 0.2, "cj_sat": 0.4, "gaussian_blur": 0.0}
    assert views["view_1_transform"]["init_args"] == settings


@pytest.mark.parametrize(
    ("name", "epochs", "batch"), [("imsvd_imagenet", 100, 2048), ("ssl_hsic_imagenet", 1000, 4096)]
)
def test_imagenet_is_the_papers(name, epochs, batch):
    """All else is the modules' own, which test_modules.py holds to the papers."""
    trainer, model, views, found = recipe(name)
    assert (trainer["max_epochs"], found) == (epochs, batch)
    assert (trainer["strategy"], trainer["sync_batchnorm"]) == ("ddp", True)
    assert model == views == {}
    averages = [entry for entry in trainer["callbacks"] if entry["class_path"].endswith("EMAWeightAveraging")]
    assert [entry["init_args"] for entry in averages] == ([{"decay": 0.999}] if name == "ssl_hsic_imagenet" else [])


DIGITS = next(path for path in CONFIGS if path.stem == "imsvd_digits")


def test_an_interrupted_training_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    def interrupt(self, trainer, model):
        if trainer.current_epoch == 1:
            raise RuntimeError("power cut")

    monkeypatch.chdir(tmp_path)
    settings = {**SMALL, "trainer.default_root_dir": str(tmp_path), "trainer.max_epochs": "2"}
    command = ["fit", "--config", str(DIGITS), *options(settings), "--ckpt_path", "last"]
    monkeypatch.setattr(Callback, "on_train_epoch_start", interrupt)
    with pytest.warns(UserWarning, match="no last checkpoint"), pytest.raises(RuntimeError, match="power cut"):
        main(command)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    main(command)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4


def test_print_config_gives_a_whole_config(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(DIGITS), "--print_config"])
    assert stop.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["criterion"]["init_args"]["num_bins"] == 16
    assert printed["trainer"]["accumulate_grad_batches"] == 1  # a default that the file leaves out


def test_a_trained_model_goes_on_from_the_line_that_loads_it(tmp_path, monkeypatch):
    """Its settings too; and a file given by its path is resumed from and validated like the last one."""
    monkeypatch.chdir(tmp_path)
    settings = {**SMALL, "trainer.default_root_dir": str(tmp_path), "model.init_args.decay_norms_and_biases": "true"}
    words = ["--config", str(DIGITS), *options(settings)]
    main(["fit", *words])
    file = tmp_path / "checkpoints" / "last.ckpt"
    model = IMSVD.load_from_checkpoint(file, weights_only=True)
    assert (model.decay_norms_and_biases, model.warmup_epochs, model.batch_size_per_device) == (True, 1, BATCH)
    assert model.criterion.num_bins == 16
    optimizer = model.make_optimizer(model.parameters())
    assert (type(optimizer), optimizer.defaults["lr"]) == (torch.optim.AdamW, 5e-3)
    main(["validate", *words, "--ckpt_path", str(file)])
    main(["fit", *words, "--ckpt_path", str(file)])
    assert torch.load(file, weights_only=True)["global_step"] == 2


def test_a_model_made_in_python_wants_its_networks_again(tmp_path):
    parts = {"backbone": SmallCNN(), "projection_head": IMSVDProjectionHead(128, 16, 32), "criterion": IMSVDLoss(4)}
    trainer = Trainer(logger=False, accelerator="cpu", enable_model_summary=False, default_root_dir=tmp_path)
    trainer.strategy.connect(IMSVD(8, 10, warmup_epochs=3, **parts))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    saved = torch.load(tmp_path / "model.ckpt", weights_only=True)["hyper_parameters"]
    assert set(saved) == {
        "batch_size_per_device",
        "num_classes",
        "warmup_epochs",
        "decay_norms_and_biases",
        "check_finite",
        "chunk_size",
    }
    model = IMSVD.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True, **parts)
    assert model.warmup_epochs == 3


def test_an_epoch_without_validation_is_saved_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {**SMALL, "trainer.max_epochs": "3", "trainer.check_val_every_n_epoch": "2"}
    main(["fit", "--config", str(DIGITS), *options(settings), f"--trainer.default_root_dir={tmp_path}"])
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6


def test_without_a_checkpoint_there_is_nothing_to_validate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--config", str(DIGITS), "--ckpt_path", "last", f"--trainer.default_root_dir={tmp_path}"]
    with pytest.raises(SystemExit, match="2"):
        main(["validate", *words])
    assert f"--ckpt_path last: there is no last checkpoint in {tmp_path}/checkpoints" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model.init_args.criterion.init_args.temperature", "0"],
            "temperature must be a finite number > 0, got 0.0.",
        ),
        (["--trainer.accelerator", "toaster"], "You selected an invalid accelerator name: `accelerator='toaster'`."),
        (["--trainer.callbacks+", f"{__name__}.Picky"], "Picky wants another day."),
    ],
)
def test_what_a_component_refuses_is_said_in_a_line(words, message, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, __name__, types.SimpleNamespace(Picky=Picky))
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", str(DIGITS), *words])
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"imsvd-plugins lightly: error: {message}")


class Picky(Callback):
    """Its message is its own, not that of the error which it met."""

    def __init__(self):
        try:
            {}["monday"]
        except KeyError as error:
            raise ValueError("Picky wants another day.") from error


def test_components_may_lie_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "my_callback.py").write_text("from pytorch_lightning import Callback\nclass Mine(Callback): pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    settings = {**SMALL, "trainer.default_root_dir": str(tmp_path), "trainer.callbacks+": "my_callback.Mine"}
    main(["fit", "--config", str(DIGITS), *options(settings)])
    [config] = tmp_path.glob("**/config.yaml")
    assert "my_callback.Mine" in config.read_text()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_an_interrupted_training_does_not_look_finished(number, status, tmp_path):
    settings = {**SMALL, "trainer.max_epochs": "500", "trainer.enable_progress_bar": "true"}
    words = ["lightly", "fit", "--config", str(DIGITS), *options(settings)]
    with subprocess.Popen(
        [sys.executable, str(Path(sys.executable).with_name("imsvd-plugins")), *words, "--trainer.default_root_dir=."],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "checkpoints" / "last.ckpt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(timeout=60) == status


def test_mixed_precision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {**SMALL, "trainer.precision": "bf16-mixed", "trainer.default_root_dir": str(tmp_path)}
    main(["fit", "--config", str(DIGITS), *options(settings)])
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert {tensor.dtype for tensor in checkpoint["state_dict"].values()} == {torch.float32, torch.int64}
    assert all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values())


def test_a_backbone_of_timms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backbone = "model.init_args.backbone"
    settings = {
        **SMALL,
        backbone: "imsvd_plugins.lightly.backbones.TimmBackbone",
        f"{backbone}.init_args.name": "resnet10t",
        "model.init_args.projection_head.init_args.input_dim": "512",
        "trainer.default_root_dir": str(tmp_path),
    }
    main(["fit", "--config", str(DIGITS), *options(settings)])
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert set(timm.create_model("resnet10t", num_classes=0).state_dict()) == {
        name.removeprefix("backbone.") for name in checkpoint["state_dict"] if name.startswith("backbone.")
    }


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--model.init_args.criterion.init_args.num_bin", "3"], "num_bin"),
        (["--model.init_args.criterion.init_args.num_bins", "many"], "many"),
        (["--trainer.max_epoks", "3"], "max_epoks"),
        (["--model.class_path", "imsvd_plugins.lightly.IMSVDD"], "IMSVDD"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_wrong_key_or_value_is_named_before_anything_runs(words, named, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(DIGITS), *words])
    assert stop.value.code == 2
    assert named in capsys.readouterr().err


def test_bins_that_do_not_divide_the_head_are_refused_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {**SMALL, "model.init_args.criterion.init_args.num_bins": "17"}
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", str(DIGITS), *options(settings)])
    error = capsys.readouterr().err
    assert "num_bins must divide the projector's output dimension D = 512, got num_bins = 17" in error
