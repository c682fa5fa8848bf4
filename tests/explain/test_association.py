"""Label information and purity against brute force, and a test that shuffled labels pass as often as it says."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from imsvd_plugins.explain.association import label_association


def associate(bins, labels, num_bins, shuffles=99, seed=0):
    return label_association(bins, labels, num_bins, shuffles=shuffles, rng=np.random.default_rng(seed))


def test_information_and_purity_are_those_of_the_definitions():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 100)
    bins = np.stack([rng.integers(0, 5, 100), (labels + rng.integers(0, 2, 100)) % 5, np.zeros(100)], 1).astype(
        np.uint8
    )
    found = associate(bins, labels, 6)
    for m in range(3):
        assert found.label_information[m] == pytest.approx(normalized_mutual_info_score(labels, bins[:, m]), abs=1e-8)
        for k in range(6):
            members = labels[bins[:, m] == k].tolist()
            if not members:
                assert np.isnan(found.purity[m, k])
                assert (found.majority[m, k], found.purity_p_value[m, k]) == (-1, 1)
                continue
            most = max(set(members), key=lambda label, members=members: (members.count(label), -label))
            assert found.purity[m, k] == pytest.approx(members.count(most) / len(members), abs=1e-8)
            assert found.majority[m, k] == most


def test_chance_information_is_that_of_shuffled_labels():
    rng = np.random.default_rng(0)
    labels, bins = rng.integers(0, 4, 80), rng.integers(0, 8, (80, 2)).astype(np.uint8)
    found = associate(bins, labels, 8, shuffles=400)
    shuffled = [normalized_mutual_info_score(rng.permutation(labels), bins[:, 1]) for _ in range(400)]
    assert found.label_information_by_chance[1] == pytest.approx(np.mean(shuffled), rel=0.05)


def test_meaningless_labels_look_meaningful_no_more_often_than_the_level():
    """Over all variables and bins together, small bins that are pure by chance among them."""
    significant = np.zeros(2)
    trials = 200
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 4, 60)
        bins = np.minimum(rng.geometric(0.15, (60, 10)) - 1, 19).astype(np.uint8)
        found = associate(bins, labels, 20, shuffles=39, seed=seed)
        significant += [(found.label_p_value <= 0.05).any(), (found.purity_p_value <= 0.05).any()]
    # 5 %; by chance up to twice that in so few trials has a probability below 0.2 %.
    assert (significant / trials <= 0.10).all(), significant / trials


def test_a_true_association_is_found_among_many_variables():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    bins = rng.integers(0, 8, (400, 50)).astype(np.uint8)
    bins[:, 17] = np.where(rng.random(400) < 0.7, labels, bins[:, 17])
    found = associate(bins, labels, 8)
    assert found.label_information.argmax() == 17
    assert found.label_p_value[17] == pytest.approx(0.01)  # the least that 99 shuffles can show
    assert (np.delete(found.label_p_value, 17) > 0.05).all()
    assert (found.purity_p_value[17, :4] <= 0.05).all()
    assert (np.delete(found.purity_p_value, 17, axis=0) > 0.05).all()


def test_a_single_class_says_nothing():
    found = associate(np.arange(12).reshape(6, 2).astype(np.uint8) % 3, np.zeros(6, np.int64), 3)
    assert found.label_information.tolist() == [0, 0]
    assert found.label_p_value.tolist() == [1, 1]
    assert (found.purity_p_value == 1).all()
