"""Statistics of features against their definitions."""

import math

import numpy as np
import pytest
import torch

from imsvd_plugins.explain.representation import (
    FeatureStatistics,
    describe_representation,
    mean_similarity,
    random_feature_error,
)
from imsvd_plugins.functional import diagnostics
from imsvd_plugins.losses import HSICLoss


def accumulated(features, z, ranks, batches, sample=10):
    statistics = FeatureStatistics(sample)
    for part in zip(*(x.split(batches) for x in (features, *z, ranks)), strict=True):
        statistics.update(*part)
    return statistics


@pytest.mark.parametrize("batches", [1, 9, 50])
@pytest.mark.parametrize("dim", [6, 80])
def test_spectrum_and_alignment_are_those_of_all_images(batches, dim):
    torch.manual_seed(0)
    features, z, ranks = torch.randn(50, dim), torch.randn(3, 50, 8), torch.randperm(50)
    statistics = accumulated(features, z, ranks, batches)
    expected = torch.linalg.svdvals(features.double())
    torch.testing.assert_close(statistics.spectrum(), expected, rtol=1e-7, atol=1e-7)
    assert statistics.alignment() == pytest.approx(diagnostics.alignment(z[0], z[1]), rel=1e-6)
    found_ranks, found_features, found_z = statistics.sample()
    first = ranks.argsort()[:10]
    assert found_ranks.tolist() == list(range(10))
    assert torch.equal(found_features, features[first])
    assert torch.equal(found_z, z[2][first])


def test_of_features_of_rank_two_the_effective_rank_is_at_most_two():
    features = (torch.randn(60, 2) @ torch.randn(2, 30)).float()
    statistics = accumulated(features, torch.randn(3, 60, 4), torch.arange(60), 7, sample=60)
    found = describe_representation(statistics, np.arange(60), None, [], None, None)
    assert 1 <= found.rankme <= 2.01
    assert found.rankme == pytest.approx(diagnostics.rankme(features.double()), rel=1e-4)


def test_similarity_of_groups_is_the_mean_over_pairs_of_different_images():
    similarity, group_of = torch.rand(7, 7, dtype=torch.float64), np.array([0, 2, 0, 5, 2, 0, -1])
    found = mean_similarity(similarity, group_of, [0, 2, 5])
    for i, first in enumerate([0, 2, 5]):
        for j, second in enumerate([0, 2, 5]):
            pairs = [
                float(similarity[x, y])
                for x in np.flatnonzero(group_of == first)
                for y in np.flatnonzero(group_of == second)
                if x != y or first == second == 5
            ]
            assert found[i, j] == pytest.approx(np.mean(pairs))


def test_neighbours_are_the_nearest_by_features_and_by_code():
    rng = np.random.default_rng(0)
    images = rng.permutation(100)[:30]
    features, bins = torch.randn(30, 5), rng.integers(0, 3, (30, 40)).astype(np.uint8)
    statistics = accumulated(features, torch.randn(3, 30, 4), torch.arange(30), 30, sample=30)
    found = describe_representation(statistics, images, None, [], bins, None, neighbours=3)
    unit = torch.nn.functional.normalize(features, dim=1)
    cosine = (unit @ unit.T).fill_diagonal_(-math.inf)
    np.testing.assert_array_equal(found.neighbours_by_features, images[cosine.topk(3).indices])
    same = (bins[:, None] == bins).sum(axis=2)
    np.fill_diagonal(same, -1)
    place_of = {image: place for place, image in enumerate(images)}
    for row, neighbours in zip(same, found.neighbours_by_code, strict=True):
        assert [row[place_of[image]] for image in neighbours] == sorted(row)[:-4:-1]


@pytest.mark.parametrize(("kernel", "features"), [("imq", "rff"), ("gaussian", "orf")])
def test_error_of_random_features_falls_with_their_number(kernel, features):
    z = torch.randn(100, 16)
    few, many = (random_feature_error(z, HSICLoss(kernel, num_features=num, features=features)) for num in (32, 2048))
    assert many < 0.3 * few
    assert few < 1


def test_a_kernel_without_random_features_has_no_error():
    assert random_feature_error(torch.randn(10, 4), HSICLoss("linear")) is None
