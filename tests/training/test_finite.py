import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from imsvd_plugins.training.finite import FiniteWatch, NonFiniteError

NAN, INFINITY = float("nan"), float("inf")
IMAGES = torch.full((4, 3, 8, 8), 60000.0, dtype=torch.float16)  # whose sum half precision cannot hold


class NoHostRead(TorchDispatchMode):
    """Refuses what makes the host wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "the host reads a value"
        return func(*args, **(kwargs or {}))


def terms(loss=1.0, diagonal=0.5):
    return {"loss": torch.tensor(loss), "diagonal": torch.tensor(diagonal, dtype=torch.float64)}


def spoiled(value):
    images = IMAGES.clone()
    images[2, 1, 3, 4] = value
    return images


def test_what_is_finite_passes():
    watch = FiniteWatch()
    for step in range(3):
        watch.record(f"step {step}", "images", [IMAGES, IMAGES[:, :, ::2]], terms())
    watch.look()
    watch.look()


@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("view", [0, 1])
def test_the_first_step_with_bad_images_is_named(value, view):
    watch = FiniteWatch()
    for step in range(4):
        # After bad images the weights, and so the loss, are bad in every step.
        images = spoiled(value) if step == 1 else IMAGES
        views = [images, IMAGES] if view == 0 else [IMAGES, images]
        watch.record(f"epoch 3, step {step}", "images", views, terms(loss=NAN) if step else terms())
    with pytest.raises(NonFiniteError) as error:
        watch.look()
    assert str(error.value) == (
        "training stopped at epoch 3, step 1: the images hold NaN or infinite values; see what the dataset and its "
        "transforms give (check_finite=False trains on)."
    )


def test_the_terms_that_went_bad_are_named_if_the_images_are_good():
    watch = FiniteWatch()
    watch.record("step 7", "images", [IMAGES], terms(diagonal=NAN, loss=INFINITY))
    with pytest.raises(NonFiniteError, match="at step 7: loss, diagonal became NaN or infinite, with finite images; l"):
        watch.look()


def test_a_step_costs_no_host_read():
    watch = FiniteWatch()
    with NoHostRead():
        with pytest.raises(AssertionError, match="the host reads"):
            torch.zeros(()).item()
        for step in range(50):
            watch.record(f"step {step}", "images", [IMAGES], terms())
    watch.look()


def stop_of_rank(rank, bad_rank):
    watch = FiniteWatch()
    for step in range(3):
        watch.record(f"step {step}", "images", [IMAGES], terms(loss=NAN if rank == bad_rank and step == 2 else 1.0))
    try:
        watch.look()
    except NonFiniteError as error:
        return str(error)
    return None


def test_all_ranks_stop_together(run_on_ranks):
    messages = run_on_ranks(stop_of_rank, 2, 1)
    assert messages[0] == messages[1]
    assert messages[0].startswith("training stopped at step 2: loss became NaN or infinite")


def test_it_does_not_stand_in_the_way_of_a_compiler():
    watch = FiniteWatch()

    @torch.compile(backend="eager")
    def step(images):
        watch.record("step 0", "images", [images], terms())
        return images * 2

    for _ in range(20):
        step(IMAGES)
    watch.look()
