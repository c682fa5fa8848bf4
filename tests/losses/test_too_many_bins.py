"""IMSVD's loss says once that a batch is too small for its bins, and only then."""

import warnings

import pytest
import torch

from imsvd_plugins.losses import IMSVDLoss, TooManyBinsWarning

pytestmark = [
    # Behind a cut between two graphs the compiler asks tensors for a gradient that they do not have.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


def batch(num_samples):
    return torch.randn(2, num_samples, 16, generator=torch.Generator().manual_seed(0))


def messages(act):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(warning.message) for warning in caught if warning.category is TooManyBinsWarning]


def test_a_batch_far_below_the_number_of_cells_is_warned_of_once():
    criterion = IMSVDLoss(num_bins=8)
    (message,) = messages(lambda: [criterion(*batch(9)) for _ in range(3)])
    assert message == (
        "num_bins = 8 with a batch of 9: the joint entropy of two variables cannot exceed log 9 for one-hot codes, far "
        "from 2 log 8. Near 3 bins, or a larger batch, the two meet."
    )


@pytest.mark.parametrize(("num_bins", "num_samples"), [(80, 2048), (32, 512), (8, 16)])
def test_the_papers_recipes_are_not_warned_of(num_bins, num_samples):
    """Of the cells, that is; 8 bins on 16 samples are the last that are not."""
    assert messages(lambda: IMSVDLoss(num_bins).check_bins(num_samples)) == []


def test_an_epochs_small_last_batch_and_an_evaluation_are_not_meant():
    criterion = IMSVDLoss(num_bins=4)
    assert messages(lambda: [criterion(*batch(size)) for size in (16, 2)]) == []
    assert messages(lambda: IMSVDLoss(num_bins=8).eval()(*batch(4))) == []


def test_a_compiled_loss_is_one_graph_and_silent():
    criterion = IMSVDLoss(num_bins=8)
    compiled = torch.compile(lambda z: criterion(*z), backend="eager", fullgraph=True)
    assert messages(lambda: compiled(batch(4))) == []
    torch.compiler.reset()


def test_users_can_filter_it_by_its_class():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", TooManyBinsWarning)
        IMSVDLoss(num_bins=8)(*batch(4))


def _warned(rank):
    """8 bins want 16 samples; each rank has 8."""
    apart, together = IMSVDLoss(8), IMSVDLoss(8, gather_distributed=True)
    return [len(messages(lambda: criterion(*batch(8)))) for criterion in (apart, together)]  # noqa: B023  (called at once)


def test_of_several_ranks_the_first_warns_of_the_batch_that_the_loss_sees(run_on_ranks):
    assert run_on_ranks(_warned, 2) == [[1, 0], [0, 0]]
