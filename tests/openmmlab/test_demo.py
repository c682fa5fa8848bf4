"""mmpretrain's part of `imsvd-plugins demo`, shortened."""

import pytest
import torch

from imsvd_plugins.commands.demo.openmmlab import pretrain
from imsvd_plugins.encoders import load_encoder
from imsvd_plugins.explain.embed import embed
from imsvd_plugins.explain.images import open_images

TERMS = {
    "imsvd": {"loss", "diagonal", "off_diagonal", "invariance"},
    "ssl-hsic": {"loss", "hsic_zy", "hsic_zz", "kernel_scale"},
}


def ignore(done, total, loss):
    """Shows no progress."""


@pytest.mark.parametrize("method", TERMS)
def test_it_logs_every_term(method, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "imsvd_plugins.openmmlab.evaluation.representation.collapse_warnings", lambda metrics: ["a sign"]
    )
    seen = []
    # An older run's checkpoint, which a new run must not take for its own.
    older = tmp_path / "epoch_60.pth"
    older.touch()
    (tmp_path / "last_checkpoint").write_text(str(older))
    done = pretrain(method, tmp_path, resume=False, epochs=1, on_epoch=lambda *epoch: seen.append(epoch))
    assert set(done.curves) == TERMS[method] | {"knn_top1"}
    assert {len(values) for values in done.curves.values()} == {1}
    assert done.checkpoint == tmp_path / "epoch_1.pth"
    assert not older.exists()
    assert seen == [(1, 1, pytest.approx(done.curves["loss"][0]))]
    # The terminal shows the warnings, the file all.
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition("WARNING")[2] for line in shown if "WARNING" in line] == [
        " - The representation has collapsed: a sign."
    ]
    assert not [line for line in shown if "INFO" in line]
    log = done.log.read_text()
    assert "Epoch(train)" in log
    assert "collapsed: a sign" in log
    # The checkpoint tells `embed` all that it needs.
    encoder, images = load_encoder(done.checkpoint, device="cpu"), open_images("digits:test")
    assert encoder.method == {"imsvd": "IMSVD", "ssl-hsic": "SSLHSIC"}[method]
    scale = 1.0 if encoder.criterion is None else float(encoder.criterion.scale)
    assert (scale == 1.0) == (method == "imsvd")  # SSL-HSIC's has been learned
    found = torch.cat([torch.from_numpy(embedding.features) for embedding in embed(encoder, images)])
    torch.testing.assert_close(found, done.trained_features[1], rtol=1e-4, atol=1e-5)


def test_it_goes_on_after_an_interruption(tmp_path, capsys):
    first = pretrain("ssl-hsic", tmp_path, resume=True, epochs=1, on_epoch=ignore)
    assert f"No checkpoint in {tmp_path}: the training starts anew" in capsys.readouterr().out
    # Killed between the writing of the checkpoint and of its name.
    (tmp_path / "last_checkpoint").unlink()
    second = pretrain("ssl-hsic", tmp_path, resume=True, epochs=2, on_epoch=ignore)
    assert "training starts anew" not in capsys.readouterr().out

    for name, values in second.curves.items():
        assert len(values) == 2
        assert values[0] == pytest.approx(first.curves[name][0]), name
    assert second.checkpoint == tmp_path / "epoch_2.pth"
    assert second.checkpoint.is_file()
    assert "Epoch(train)" in second.log.read_text()

    for features in (first.random_features, first.trained_features, second.trained_features):
        assert [part.shape for part in features] == [(1438, 96), (359, 96)]
    # The untrained network is the same each time; trained, it is another one.
    assert torch.equal(first.random_features[0], second.random_features[0])
    assert not torch.allclose(first.random_features[0], first.trained_features[0], atol=1e-3)
    assert not torch.allclose(first.trained_features[0], second.trained_features[0], atol=1e-3)
