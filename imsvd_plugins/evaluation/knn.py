"""Weighted k-nearest-neighbour classification of features that are spread over the ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from imsvd_plugins.distributed import gather_rows

# One tile of similarities is in memory at a time, of this many queries with this many of the bank's vectors: 128 MB.
_QUERY_CHUNK = 512
_BANK_CHUNK = 65536


@torch.no_grad()
def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    k: Sequence[int] = (20,),
    temperature: float = 0.07,
) -> dict[int, float]:
    """Accuracy of the vote of each query's ``k`` nearest vectors by cosine similarity ``s``, weighted ``exp(s / T)``.

    With several processes, each passes its own share of both sets, which may be empty, and all get the global result.
    The bank is not gathered: each rank searches its own share for the nearest vectors.

    Args:
        bank: Features ``(n, d)`` that vote.
        bank_labels: Their labels ``(n,)``, integers >= 0.
        queries: Features ``(m, d)`` to classify.
        query_labels: Their labels ``(m,)``.
        k: Numbers of neighbours, each at most the size of the whole bank.
        temperature: Temperature ``T > 0`` of the weights.

    Returns:
        For each ``k``, the share of the queries that are classified correctly, 0 to 1.
    """
    bank = normalize(bank, dim=1)
    queries, query_labels = gather_rows(normalize(queries, dim=1)), gather_rows(query_labels)
    # Each rank's largest label, with 0 for a share without images.
    largest = torch.cat([bank_labels, query_labels, query_labels.new_zeros(1)]).max()
    num_classes = int(gather_rows(largest[None]).max()) + 1

    most, right = max(k), dict.fromkeys(k, 0)
    for chunk, labels in zip(torch.split(queries, _QUERY_CHUNK), torch.split(query_labels, _QUERY_CHUNK), strict=True):
        # All ranks' candidates for each query, (m, W * k).
        similarity, neighbours = (gather_rows(part.T).T for part in _nearest(chunk, bank, bank_labels, most))
        similarity, index = similarity.topk(most, dim=1)
        neighbours = neighbours.gather(1, index)
        for number in right:
            # softmax is exp(s / T) up to a factor per query, and cannot overflow.
            weights = torch.softmax(similarity[:, :number] / temperature, dim=1)
            votes = weights.new_zeros(len(chunk), num_classes).scatter_add_(1, neighbours[:, :number], weights)
            right[number] += int((votes.argmax(dim=1) == labels).sum())
    return {number: count / len(queries) for number, count in right.items()}


def _nearest(queries: Tensor, bank: Tensor, bank_labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Similarities and labels ``(m, k)`` of this rank's nearest vectors, padded with -inf and 0."""
    similarity = queries.new_full((len(queries), k), -torch.inf)
    neighbours = bank_labels.new_zeros(len(queries), k)
    for vectors, labels in zip(torch.split(bank, _BANK_CHUNK), torch.split(bank_labels, _BANK_CHUNK), strict=True):
        candidates = torch.cat([similarity, queries @ vectors.T], dim=1)
        candidate_labels = torch.cat([neighbours, labels.expand(len(queries), -1)], dim=1)
        similarity, index = candidates.topk(k, dim=1)
        neighbours = candidate_labels.gather(1, index)
    return similarity, neighbours
