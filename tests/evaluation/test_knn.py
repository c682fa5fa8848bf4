"""The kNN accuracy is scikit-learn's, on any number of ranks. The ranks read this file too."""

import numpy as np
import pytest
import torch

from imsvd_plugins.evaluation import knn
from imsvd_plugins.evaluation.knn import knn_accuracy


def sets(bank=203, queries=57, classes=5, dim=6):
    """Features and labels of a bank and of queries: clusters that overlap, so that the accuracy is far from 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, dim, generator=generator)
    result = []
    for count in (bank, queries):
        labels = torch.randint(0, classes, (count,), generator=generator)
        result += [centres[labels] + 1.5 * torch.randn(count, dim, generator=generator), labels]
    return result


def by_sklearn(bank, bank_labels, queries, query_labels, k, temperature):
    from sklearn.neighbors import KNeighborsClassifier  # here, because no rank needs it

    votes = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / temperature)
    )
    return votes.fit(bank.numpy(), bank_labels.numpy()).score(queries.numpy(), query_labels.numpy())


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (20, 10.0), (203, 1.0)])
def test_the_accuracy_is_scikit_learns(k, temperature):
    accuracy = knn_accuracy(*sets(), k=[k], temperature=temperature)[k]
    assert accuracy == pytest.approx(by_sklearn(*sets(), k, temperature))
    assert 0.3 < accuracy < 0.9


def test_several_numbers_of_neighbours_at_once():
    several = knn_accuracy(*sets(), k=[5, 1, 203])
    assert several == {k: knn_accuracy(*sets(), k=[k])[k] for k in (5, 1, 203)}
    assert len(set(several.values())) == 3


def test_tiles_change_nothing(monkeypatch):
    whole = knn_accuracy(*sets())
    monkeypatch.setattr(knn, "_QUERY_CHUNK", 10)
    monkeypatch.setattr(knn, "_BANK_CHUNK", 7)
    assert knn_accuracy(*sets()) == whole


def test_a_low_temperature_does_not_overflow():
    assert knn_accuracy(*sets(), k=[20], temperature=1e-4)[20] == knn_accuracy(*sets(), k=[1])[1]


def _accuracies_of_rank(rank, shares):
    return [
        knn_accuracy(*(part[begin:end] for part, (begin, end) in zip(sets(bank), share[rank], strict=True)))[20]
        for bank, share in shares
    ]


def test_ranks_with_any_shares_find_what_one_process_finds(run_on_ranks):
    def share(*bounds):  # of the bank, its labels, the queries and theirs
        (bank_begin, bank_end), (begin, end) = bounds
        return [(bank_begin, bank_end)] * 2 + [(begin, end)] * 2

    shares = [
        (203, [share((0, 90), (0, 30)), share((90, 203), (30, 57))]),
        # Of the smaller bank no rank has the 20 vectors that a query asks for.
        (25, [share((0, 13), (0, 1)), share((13, 25), (1, 57))]),
        # A rank without any.
        (203, [share((0, 203), (0, 57)), share((0, 0), (0, 0))]),
    ]
    expected = [knn_accuracy(*sets(bank))[20] for bank, _ in shares]
    assert run_on_ranks(_accuracies_of_rank, 2, shares) == [expected] * 2
