"""The label-free figures against their definitions and at their limits."""

import math

import pytest
import torch
from torch.nn.functional import normalize, one_hot

from imsvd_plugins.functional import diagnostics


def codes(*columns, num_bins=4, sharpness=200.0):
    """Projections whose variables take the given bins, a column of bin numbers a variable."""
    return sharpness * torch.cat([one_hot(torch.tensor(column), num_bins).float() for column in columns], dim=1)


class TestVariables:
    def test_two_independent_variables_that_use_all_bins(self):
        z = codes([0, 1, 2, 3] * 4, [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4)
        figures = diagnostics.variable_metrics(z, z, 4)
        assert figures == pytest.approx((1.0, 1.0, 1.0, 0.0, 0.0), abs=1e-4)

    def test_two_variables_that_say_the_same(self):
        z = codes([0, 1, 2, 3] * 4, [0, 1, 2, 3] * 4)
        figures = diagnostics.variable_metrics(z, z, 4)
        assert figures.mutual_information == pytest.approx(math.log(4), abs=1e-4)
        assert figures.joint_entropy == pytest.approx(0.5, abs=1e-4)

    def test_a_variable_that_uses_one_bin_is_seen(self):
        z = codes([0, 1, 2, 3], [2, 2, 2, 2])
        figures = diagnostics.variable_metrics(z, z, 4)
        assert figures.variable_entropy == pytest.approx(0.5, abs=1e-4)
        assert figures.least_variable_entropy == pytest.approx(0, abs=1e-4)
        assert figures.unused_bins == pytest.approx(3 / 8)

    def test_a_bin_that_one_view_uses_is_used(self):
        figures = diagnostics.variable_metrics(codes([0, 0, 1, 1]), codes([2, 2, 1, 1]), 4)
        assert figures.unused_bins == pytest.approx(1 / 4)

    def test_pairs_by_their_definition(self):
        z_a, z_b = torch.randn(2, 20, 12, dtype=torch.float64)
        p_a, p_b = (z.view(20, 3, 4).softmax(-1) for z in (z_a, z_b))
        shared, joint = [], []
        for m in range(3):
            for other in range(3):
                if m != other:
                    p = torch.einsum("ni,nj->ij", p_a[:, m], p_b[:, other]) / 20
                    independent = torch.outer(p.sum(1), p.sum(0))
                    shared.append((p * (p / independent).log()).sum())
                    joint.append(-(p * p.log()).sum())
        figures = diagnostics.variable_metrics(z_a, z_b, 4)
        assert figures.mutual_information == pytest.approx(torch.stack(shared).mean().item(), rel=1e-6)
        ceiling = min(2 * math.log(4), math.log(20))
        assert figures.joint_entropy == pytest.approx(torch.stack(joint).mean().item() / ceiling, rel=1e-6)

    def test_a_single_variable_has_no_pairs(self):
        figures = diagnostics.variable_metrics(*torch.randn(2, 6, 4), 4)
        assert figures.joint_entropy == figures.mutual_information == 0


class TestRank:
    @pytest.mark.parametrize("rank", [1, 3, 8])
    def test_orthogonal_directions_of_one_length_are_counted(self, rank):
        basis = torch.linalg.qr(torch.randn(20, 20)).Q[:rank]
        features = torch.linalg.qr(torch.randn(50, 50)).Q[:, :rank] @ basis
        assert diagnostics.rankme(features) == pytest.approx(rank, rel=1e-4)

    def test_it_does_not_depend_on_the_scale(self):
        features = torch.randn(30, 10)
        assert diagnostics.rankme(1000 * features) == pytest.approx(diagnostics.rankme(features), rel=1e-4)

    def test_all_zeros_have_no_more_than_one(self):
        assert diagnostics.rankme(torch.zeros(5, 3)) == 1


class TestSphere:
    def test_alignment_at_its_ends(self):
        z = torch.randn(10, 4)
        assert diagnostics.alignment(z, 3 * z) == pytest.approx(0, abs=1e-6)
        assert diagnostics.alignment(z, -z) == pytest.approx(4)

    @pytest.mark.parametrize("count", [2, 7, 1500])
    def test_uniformity_is_that_of_all_pairs(self, count):
        z = torch.randn(count, 5, dtype=torch.float64)
        distances = torch.pdist(normalize(z, dim=1))
        expected = (-2 * distances.square()).exp().mean().log().item()
        assert diagnostics.uniformity(z) == pytest.approx(expected, rel=1e-9)

    def test_it_needs_a_pair(self):
        with pytest.raises(ValueError, match="at least two vectors, got 1"):
            diagnostics.uniformity(torch.randn(1, 3))


class TestCollapse:
    def test_a_healthy_representation_shows_no_sign(self):
        figures = diagnostics.representation_metrics(torch.randn(64, 16), *torch.randn(2, 64, 8), num_bins=4)
        assert list(figures)[:3] == ["rankme", "alignment", "uniformity"]
        assert diagnostics.collapse_warnings(figures) == []

    def test_one_that_is_constant_shows_all(self):
        same = torch.ones(64, 1) * torch.randn(8)
        same[:, 0] += 100
        figures = diagnostics.representation_metrics(same, same, same, num_bins=4)
        signs = diagnostics.collapse_warnings(figures)
        assert [sign.split()[0] for sign in signs] == ["rankme", "uniformity"]
        figures = diagnostics.representation_metrics(same, *[codes([1] * 64, [2] * 64)] * 2, num_bins=4)
        assert [sign.split()[0] for sign in diagnostics.collapse_warnings(figures)][2:] == ["variable_entropy"]

    def test_a_training_that_diverged_is_no_error_but_a_sign(self):
        features, z_a, z_b = torch.randn(64, 16), *torch.randn(2, 64, 8)
        features[3, 5], z_a[2, 1] = float("inf"), float("nan")
        figures = diagnostics.representation_metrics(features, z_a, z_b, num_bins=4)
        undefined = [name for name, value in figures.items() if math.isnan(value)]
        assert {"rankme", "alignment", "uniformity", "mutual_information"} <= set(undefined)
        assert diagnostics.collapse_warnings(figures) == [
            f"{', '.join(undefined)} not a number: the training has diverged"
        ]

    def test_without_variables_their_figures_are_missing(self):
        figures = diagnostics.representation_metrics(torch.randn(64, 16), *torch.randn(2, 64, 8))
        assert set(figures) == {"rankme", "alignment", "uniformity"}
        assert diagnostics.collapse_warnings(figures) == []
