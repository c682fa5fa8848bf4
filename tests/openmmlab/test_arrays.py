"""Arrays in mmpretrain's trainings: the files' values reach the network, and what does not fit is said before."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from imsvd_plugins import cli
from imsvd_plugins.data.array_files import ArrayFormat, read_array
from imsvd_plugins.openmmlab import ArrayFolder, ChannelDataPreprocessor, ChannelView
from imsvd_plugins.openmmlab.errors import ConfigTypeError, ConfigValueError
from imsvd_plugins.openmmlab.shipped_configs import resolve_config
from imsvd_plugins.openmmlab.training.array_preflight import check_array_folders
from imsvd_plugins.openmmlab.training.folders import with_folders
from imsvd_plugins.openmmlab.training.preflight import check_model

RECIPES = {"multispectral": 13, "16bit": 1}
NOTHING = {"min_scale": 1.0, "horizontal_flip": 0.0, "vertical_flip": 0.0, "quarter_turns": False, "blur": 0.0}
NOTHING |= {"gain": 0.0, "offset": 0.0, "noise": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fake")
    runpy.run_path(str(Path(__file__).with_name("fake_data.py")))["_arrays"](folder / "data")
    return folder


@pytest.fixture
def load(data, monkeypatch):
    monkeypatch.chdir(data)

    def load(name):
        cfg = Config.fromfile(resolve_config(f"imsvd_resnet18_1xb256-coslr-200e_{name}"))
        init_default_scope(cfg.default_scope)
        return with_folders(cfg)

    return load


def build(cfg):
    return MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
@pytest.mark.parametrize("name", RECIPES)
def test_the_values_that_reach_the_network_are_the_files(name, load):
    """With views that change nothing, normalised by a mean and a deviation for each channel; by loader workers."""
    cfg = load(name)
    channels = RECIPES[name]
    [view] = cfg.train_dataloader.dataset.pipeline[0].transforms[0]
    view.update(size=48, **NOTHING)
    cfg.train_dataloader.update(batch_size=4, num_workers=1)
    mean, std = torch.arange(2.0 * channels).mul(7).add(11).view(2, channels, 1, 1)
    preprocessor = MODELS.build(
        {**cfg.data_preprocessor, "mean": mean.flatten().tolist(), "std": std.flatten().tolist()}
    )
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    loader.dataset.pipeline.transforms[0].transforms[0].transforms[0].view.geometry = torch.nn.Identity()
    batch = next(iter(loader))
    paths = [sample.img_path for sample in batch["data_samples"]]
    assert len(set(paths)) == 4
    views = preprocessor(batch)["inputs"]
    assert len(views) == 2
    for seen in views:
        for path, found in zip(paths, seen, strict=True):
            array = torch.from_numpy(read_array(path, ArrayFormat(channels)).astype(np.float32))
            assert torch.equal(found, (array - mean) / std)


@pytest.mark.parametrize("name", RECIPES)
def test_embed_gives_the_features_of_the_files(name, load, tmp_path, capsys):
    cfg = load(name)
    torch.manual_seed(0)
    model = build(cfg)
    model.eval()
    torch.save({"meta": {"cfg": cfg.pretty_text}, "state_dict": model.state_dict()}, tmp_path / "epoch_1.pth")
    options = ["--out", str(tmp_path / "out.npz"), "--device", "cpu", "--workers", "0", "--size", "40"]
    assert cli.main(["embed", str(tmp_path / "epoch_1.pth"), f"data/{name}", *options]) == 0
    found = np.load(tmp_path / "out.npz")
    array = read_array(found["path"][3], ArrayFormat(RECIPES[name])).astype(np.float32)
    assert array.shape[1:] == (40, 48)
    pixels = torch.from_numpy(array[None, :, :, 4:44].copy())
    with torch.no_grad():
        features = model.backbone(model.data_preprocessor({"inputs": [pixels], "data_samples": None})["inputs"][0])
    np.testing.assert_allclose(found["features"][3], features[0].mean((2, 3))[0], rtol=1e-3, atol=1e-4)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["explain", str(tmp_path / "epoch_1.pth"), f"data/{name}", "--out", str(tmp_path / "report")])
    assert f"this network takes arrays of {RECIPES[name]} channel(s)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model.backbone.in_channels": 3}, r"model\.backbone\.in_channels must be .*\.channels, 13, got 3"),
        (
            {"data_preprocessor.mean": [0.0] * 4, "data_preprocessor.std": [1.0] * 4},
            r"data_preprocessor\.mean and std must hold 13 values, .* or 1, got 4",
        ),
        ({"train_dataloader.dataset.channels": "13"}, "channels must be an int, got str"),
        ({"train_dataloader.dataset.layout": "WHC"}, 'layout must be "CHW", "HWC" or None'),
        (
            {"train_dataloader.dataset.data_root": "absent"},
            "data_root must be a folder of arrays, and 'absent' does not",
        ),
        ({"train_dataloader.dataset.data_root": "."}, r"must hold arrays .* holds 1 other file\(s\)"),
        ({"train_dataloader.dataset.data_root": "broken"}, r"1 of 2 arrays in 'broken' are wrong: '.*b\.npy': .*NaN"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_step(options, message, load, tmp_path, monkeypatch):
    cfg = load("multispectral")
    cfg.merge_from_dict(options)
    model = build(cfg)
    if options.get("train_dataloader.dataset.data_root") in (".", "broken"):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "notes.txt").touch()
        if "broken" in options.values():
            (tmp_path / "broken").mkdir()
            np.save(tmp_path / "broken" / "a.npy", np.zeros((13, 8, 8), np.float32))
            np.save(tmp_path / "broken" / "b.npy", np.full((13, 8, 8), np.nan, np.float32))
    with pytest.raises((ConfigValueError, ConfigTypeError), match=message) as error:
        check_array_folders(cfg, model, tmp_path / "work_dir")
    assert "\n" not in str(error.value)


def test_the_width_of_the_features_is_checked_for_any_number_of_channels(load):
    cfg = load("multispectral")
    cfg.model.neck.in_channels = 2048
    with pytest.raises(ConfigValueError, match="in_channels must be the width of the backbone's output, 512"):
        check_model(build(cfg), cfg.model)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [([1.0, 2.0], [1.0], "as many"), ([1.0], [0.0], "above 0"), ([float("nan")], [1.0], "finite")],
)
def test_a_wrong_normalisation_is_refused(mean, std, message):
    with pytest.raises(ConfigValueError, match=message):
        ChannelDataPreprocessor(mean=mean, std=std)


def test_a_wrong_view_is_refused():
    with pytest.raises(ConfigValueError, match="ChannelView: size must be at least 1 pixel, got 0"):
        ChannelView(size=0)


def test_arrays_say_where_they_are(data):
    dataset = ArrayFolder(data_root=str(data / "data" / "16bit"), channels=1)
    assert len(dataset) == len(list((data / "data" / "16bit").rglob("*.*")))
    sample = dataset[0]
    assert (sample["img"].dtype, sample["img"].shape, sample["img_shape"]) == (np.float32, (40, 48, 1), (40, 48))
    assert Path(sample["img_path"]).is_file()
