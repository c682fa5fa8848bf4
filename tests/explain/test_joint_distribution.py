import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from imsvd_plugins.explain import draw_joint_distribution


@pytest.fixture
def shown():
    """Draws, and returns the numbers behind the colours."""

    def draw(*args, **kwargs):
        figure = draw_joint_distribution(*args, **kwargs)
        plt.close(figure)
        return figure.axes[0].images[0].get_array()

    return draw


def all_codes(num_variables, num_bins):
    """One-hot codes of every combination of bins, each once: independent variables of equally used bins."""
    codes = torch.cartesian_prod(*[torch.arange(num_bins)] * num_variables)
    return torch.nn.functional.one_hot(codes, num_bins).double()


def test_independent_variables_are_white_and_a_variable_with_itself_is_a_diagonal(shown):
    codes = all_codes(num_variables=3, num_bins=4)
    colours = shown(codes, codes, variables=(0, 2))
    assert colours.shape == (8, 8)
    np.testing.assert_allclose(colours[:4, 4:], 0, atol=1e-12)
    np.testing.assert_allclose(np.diag(colours), math.log2(4))
    assert (colours[:4, :4][~np.eye(4, dtype=bool)] < -math.log2(4)).all()


def test_rows_are_the_first_views_and_columns_the_second_views(shown):
    first, second = torch.tensor([[[1.0, 0.0]]] * 2), torch.tensor([[[0.0, 1.0]]] * 2)
    colours = shown(first, second, variables=[0])
    assert colours[0, 1] == pytest.approx(2)  # the only pair of bins there is: four times as frequent


@pytest.mark.parametrize("variables", [[0], range(4)])
def test_a_legend_within_the_figure_says_what_good_and_collapse_look_like(variables):
    codes = all_codes(num_variables=4, num_bins=3)
    figure = draw_joint_distribution(codes, codes, variables)
    figure.canvas.draw()
    [legend] = [text for text in figure.texts if "Collapse: " in text.get_text()]
    assert legend.get_text().startswith("Good: ")
    extent, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1
    assert whole.y0 <= extent.y0 < extent.y1 < figure.axes[0].get_window_extent().y0
    plt.close(figure)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"variables": (0, 3)}, ValueError, r"variables must be indices from 0 to 2, got \[0, 3\]"),
        ({"variables": ()}, ValueError, "variables must be indices from 0 to 2"),
        ({"p_a": torch.ones(4, 12)}, ValueError, r"p_a must have the shape \(N, M, K\).* got \(4, 12\)"),
        ({"p_b": torch.ones(5, 3, 4)}, ValueError, "both views must have one shape"),
        ({"p_b": torch.ones(4, 3, 4).long()}, TypeError, "p_b must be a tensor of a floating dtype, got torch.int64"),
    ],
)
def test_wrong_input_is_refused(change, error, message):
    settings = {"p_a": torch.ones(4, 3, 4), "p_b": torch.ones(4, 3, 4), "variables": (0, 1)}
    with pytest.raises(error, match=message):
        draw_joint_distribution(**{**settings, **change})
