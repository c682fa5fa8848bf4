"""Statistics of latent variables against an independent brute force, and the same in any batches."""

import numpy as np
import pytest
import scipy.stats
import torch

from imsvd_plugins.explain.examples import choose_examples
from imsvd_plugins.explain.variables import (
    VariableStatistics,
    describe_variables,
    redundant_pairs,
    similar_adjacent,
)

N, M, K = 60, 5, 4
OF_BINS = ("bin_agreement", "bin_agreement_by_chance")


def projections(num=N, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(num, M * K, dtype=dtype, generator=generator)
    noise = torch.randn(2, num, M * K, dtype=dtype, generator=generator)
    z[:, K : 2 * K] = z[:, :K].roll(1, dims=1)  # the second variable says what the first does
    return z + noise[0], z + noise[1], z


def accumulated(z_a, z_b, z_plain, batches, temperature=0.7):
    statistics = VariableStatistics(K, len(z_a), temperature)
    for views in zip(*(z.split(batches) for z in (z_a, z_b, z_plain)), strict=True):
        statistics.update(*views)
    return describe_variables(
        statistics, None, np.random.default_rng(0).permutation(len(z_a)), shuffles=1, rng=np.random.default_rng(0)
    )


def brute_force(z_a, z_b, z_plain, temperature=0.7):
    """By the definitions, one image and one pair of variables after the other."""
    p_a, p_b, p = ((z.double().numpy().reshape(len(z), -1, K) / temperature) for z in (z_a, z_b, z_plain))
    p_a, p_b, p = (np.exp(x) / np.exp(x).sum(axis=2, keepdims=True) for x in (p_a, p_b, p))
    joint = np.zeros((M * K, M * K))
    for first, second in zip(p_a, p_b, strict=True):
        joint += np.outer(first.ravel(), second.ravel()) / len(p_a)
    marginals = (p_a.mean(axis=0) + p_b.mean(axis=0)) / 2
    information = np.zeros((M, M))
    for m in range(M):
        for n in range(M):
            block = joint[m * K : (m + 1) * K, n * K : (n + 1) * K]
            mean = (scipy.stats.entropy(block.sum(axis=1)) + scipy.stats.entropy(block.sum(axis=0))) / 2
            shared = sum(
                block[i, j] * np.log(block[i, j] / (block[i].sum() * block[:, j].sum()))
                for i in range(K)
                for j in range(K)
            )
            information[m, n] = shared / mean
    hard_a, hard_b = p_a.argmax(axis=2), p_b.argmax(axis=2)
    return {
        "bin_agreement": of_bins(hard_a, hard_b),
        # Of every view with every other one.
        "bin_agreement_by_chance": of_bins(hard_a.repeat(len(p), axis=0), np.tile(hard_b, (len(p), 1))),
        "joint": joint,
        "marginals": marginals,
        "entropies": scipy.stats.entropy(marginals, axis=1) / np.log(K),
        "mutual_information": (information + information.T) / 2,
        "bins": p.argmax(axis=2),
        "bins_used": [len(set(column)) for column in p.argmax(axis=2).T],
        "views_in_bin": sum((p.argmax(axis=2) == view.argmax(axis=2)).astype(int) for view in (p_a, p_b)),
        "agreement": (p_a.argmax(axis=2) == p_b.argmax(axis=2)).mean(axis=0),
        "agreement_by_chance": [
            np.mean([[x == y for x in first] for y in second])
            for first, second in zip(p_a.argmax(axis=2).T, p_b.argmax(axis=2).T, strict=True)
        ],
    }


def of_bins(first, second):
    """Of the views ``(n, M)`` in each bin the share whose partner is in it too ``(M, K)``."""
    found = np.full((M, K), np.nan)
    for m in range(M):
        for k in range(K):
            views = [*first[:, m], *second[:, m]].count(k)
            agreeing = sum(a == b == k for a, b in zip(first[:, m], second[:, m], strict=True))
            found[m, k] = 2 * agreeing / views if views else np.nan
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 2e-7)])
def test_statistics_are_those_of_the_definitions(dtype, tolerance):
    views = projections(dtype=dtype)
    found, expected = accumulated(*views, batches=N), brute_force(*views)
    np.testing.assert_allclose(found.marginals, expected["marginals"], atol=tolerance)
    np.testing.assert_allclose(found.entropies, expected["entropies"], atol=tolerance)
    np.testing.assert_allclose(found.mutual_information, expected["mutual_information"], atol=tolerance)
    np.testing.assert_allclose(found.joint, expected["joint"], atol=1e-7)
    for name in ("bins", "bins_used", "views_in_bin", "agreement", "agreement_by_chance", *OF_BINS):
        np.testing.assert_allclose(getattr(found, name), expected[name], atol=1e-12, err_msg=name)
    assert found.bins.dtype == np.uint8
    assert found.certainty.dtype == np.float16


@pytest.mark.parametrize("batches", [1, 7, 1500])
def test_batches_make_no_difference(batches):
    views = projections(num=2600)  # more than are collected before they are added up
    found, dense = accumulated(*views, batches), accumulated(*views, 2600)
    for name in (
        "marginals",
        "entropies",
        "mutual_information",
        "agreement",
        *OF_BINS,
        "bins",
        "certainty",
        "views_in_bin",
    ):
        np.testing.assert_allclose(getattr(found, name), getattr(dense, name), atol=1e-12, err_msg=name)
    np.testing.assert_allclose(found.joint, dense.joint, rtol=1e-6)
    assert found.examples == dense.examples


def test_blocks_of_the_joint_distribution_sum_to_one():
    found = accumulated(*projections(), batches=13)
    sums = found.joint.reshape(M, K, M, K).sum(axis=(1, 3))
    np.testing.assert_allclose(sums, 1, atol=1e-6)


def test_a_constant_variable_shares_nothing():
    z = torch.randn(3, 50, 2 * K, dtype=torch.float64)
    z[:, :, 0] += 1e4
    statistics = VariableStatistics(K, 50)
    statistics.update(*z)
    statistics.flush()
    np.testing.assert_allclose(statistics.mutual_information()[0], 0, atol=1e-8)


def test_redundant_variables_stand_first_among_the_pairs_and_side_by_side():
    found = accumulated(*projections(num=500), batches=500)
    assert found.redundant_pairs[0][:2] == (0, 1)
    assert found.redundant_pairs[0][2] == found.mutual_information[0, 1]
    assert [shared for *_, shared in found.redundant_pairs] == sorted(
        (shared for *_, shared in found.redundant_pairs), reverse=True
    )
    places = found.order.tolist()
    assert sorted(places) == list(range(M))
    assert abs(places.index(0) - places.index(1)) == 1


def test_one_variable_has_no_pairs():
    assert redundant_pairs(np.ones((1, 1))) == []
    assert similar_adjacent(np.ones((1, 1))).tolist() == [0]


def test_examples_are_the_surest_random_ones_and_a_strip_through_all():
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 3, (200, 2)).astype(np.uint8)
    bins[bins[:, 1] == 2, 1] = 0  # an unused bin
    certainty = rng.random((200, 2)).astype(np.float16)
    priority = rng.permutation(200)
    found = choose_examples(bins, certainty, 4, priority, count=5)
    for m in range(2):
        for k in range(4):
            members = np.flatnonzero(bins[:, m] == k)
            surest, random, strip = found[m][k]
            if len(members) == 0:
                assert (surest, random, strip) == ([], [], [])
                continue
            by_certainty = sorted(members, key=lambda image, m=m: -float(certainty[image, m]))
            np.testing.assert_array_equal(certainty[surest, m], certainty[by_certainty[:5], m])
            assert random == [image for image in priority if bins[image, m] == k][:5]
            # One of each fifth.
            places = [sorted(-certainty[members, m].astype(float)).index(-float(certainty[i, m])) for i in strip]
            assert places == sorted(places)
            assert [place * 5 // len(members) for place in places] == pytest.approx(list(range(5)), abs=1)
    assert found[0][3].surest == []


def test_random_examples_of_all_bins_share_few_images():
    """Each bin's are a random sample, yet a page can show them all with few thumbnails."""
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 16, (20_000, 20)).astype(np.uint8)
    found = choose_examples(bins, np.ones(bins.shape, np.float16), 16, rng.permutation(20_000), count=8)
    different = {image for variable in found for examples in variable for image in examples.random}
    assert len(different) < 400  # of 2560


def test_wrong_number_of_bins_is_refused():
    with pytest.raises(ValueError, match="num_bins"):
        VariableStatistics(7, N).update(*projections())
