import pytest
import torch
from pytorch_lightning import Callback

from imsvd_plugins.commands.demo.lightly import pretrain
from imsvd_plugins.encoders import load_encoder
from imsvd_plugins.explain.embed import embed
from imsvd_plugins.explain.images import open_images

TERMS = {
    "imsvd": {"loss", "diagonal", "off_diagonal", "invariance"},
    "ssl-hsic": {"loss", "hsic_zy", "hsic_zz", "scale"},
}
STEPS_PER_EPOCH = 5


def ignore(done, total, loss):
    """Shows no progress."""


def saved_steps(run):
    return torch.load(run.checkpoint, weights_only=True)["global_step"]


@pytest.mark.parametrize("method", ["imsvd", "ssl-hsic"])
def test_demo_trains_and_goes_on_where_it_was_interrupted(method, tmp_path, monkeypatch, capfd):
    def interrupt(self, trainer, model):
        if trainer.current_epoch == 1:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Callback, "on_train_epoch_start", interrupt)
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(method, tmp_path, resume=False, epochs=2, on_epoch=ignore)

    seen = []
    run = pretrain(method, tmp_path, resume=True, epochs=2, on_epoch=lambda *epoch: seen.append(epoch))
    assert seen == [(2, 2, run.curves["loss"][1])]
    assert saved_steps(run) == 2 * STEPS_PER_EPOCH
    assert run.curves.keys() == TERMS[method]
    assert {len(values) for values in run.curves.values()} == {2}
    assert len((run.log / "metrics.csv").read_text().splitlines()) == 1 + STEPS_PER_EPOCH
    for random, trained, images in zip(run.random_features, run.trained_features, (1438, 359), strict=True):
        assert random.shape == trained.shape == (images, 128)
        assert not torch.equal(random, trained)
    assert capfd.readouterr() == ("", "")

    # Nothing is left to do: the features are the saved network's.
    again = pretrain(method, tmp_path, resume=True, epochs=2, on_epoch=ignore)
    assert torch.equal(run.trained_features[1], again.trained_features[1])
    assert torch.equal(run.random_features[1], again.random_features[1])
    assert again.curves == run.curves

    # The checkpoint tells `embed` all that it needs.
    encoder, images = load_encoder(run.checkpoint, device="cpu"), open_images("digits:test")
    assert (encoder.method, encoder.notes) == ({"imsvd": "IMSVD", "ssl-hsic": "SSLHSIC"}[method], ())
    scale = 1.0 if encoder.criterion is None else float(encoder.criterion.scale)
    assert (scale == 1.0) == (method == "imsvd")  # SSL-HSIC's has been learned
    found = torch.cat([torch.from_numpy(embedding.features) for embedding in embed(encoder, images)])
    torch.testing.assert_close(found, run.trained_features[1], rtol=1e-4, atol=1e-5)


def test_resuming_without_a_checkpoint_starts_anew_and_says_so(tmp_path, capsys):
    run = pretrain("imsvd", tmp_path, resume=True, epochs=1, on_epoch=ignore)
    message = f"No checkpoint {tmp_path / 'checkpoints' / 'last.ckpt'}: the training starts anew."
    assert message in capsys.readouterr().out
    assert saved_steps(run) == STEPS_PER_EPOCH


def test_an_unknown_method_is_named(tmp_path):
    with pytest.raises(ValueError, match="method must be one of imsvd, ssl-hsic, got 'hsic'"):
        pretrain("hsic", tmp_path, resume=False, epochs=1, on_epoch=ignore)
