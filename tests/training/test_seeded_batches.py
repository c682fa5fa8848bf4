"""What is drawn for an image is a function of seed, epoch and place in the epoch, whoever draws it."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, RandomSampler

from imsvd_plugins.training.seeded_batches import SeededBatchSampler

# Three workers on a machine with fewer cores are what is meant.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes:UserWarning")
IMAGES, BATCH = 23, 5


def draw():
    return random.random(), np.random.rand(), torch.rand((), dtype=torch.float64).item()  # noqa: NPY002


class Drawing(Dataset):
    """Each item is its index and what is drawn for it, as for two views."""

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        if index < 0:
            raise IndexError(index)
        return index, (*draw(), *draw())


def loader(num_workers=0, ranks=1, rank=0, drop_last=True, **sampler):
    sampler = DistributedSampler(Drawing(), ranks, rank, seed=7, **sampler)
    batches = SeededBatchSampler(sampler, BATCH, drop_last)
    return DataLoader(
        Drawing(), batch_sampler=batches, num_workers=num_workers, persistent_workers=num_workers > 0, collate_fn=list
    )


def epoch_of(loader, epoch):
    loader.batch_sampler.sampler.set_epoch(epoch)
    return list(loader)


def test_any_number_of_workers_gives_the_same_batches_and_any_epoch_may_be_the_first():
    reference = loader()
    epochs = [epoch_of(reference, epoch) for epoch in range(3)]
    assert len(epochs[0]) == IMAGES // BATCH
    for num_workers in (1, 3):
        workers = loader(num_workers)
        assert [epoch_of(workers, epoch) for epoch in range(3)] == epochs
        assert epoch_of(loader(num_workers), 2) == epochs[2]


def test_all_draws_differ():
    epochs = [epoch_of(loader(), epoch) for epoch in range(2)]
    drawn = [value for epoch in epochs for batch in epoch for _, values in batch for value in values]
    assert len(set(drawn)) == len(drawn) == 2 * 20 * 6


def test_the_generators_go_on_as_without_it():
    torch.manual_seed(0), random.seed(0), np.random.seed(0)  # noqa: NPY002
    expected = draw()
    torch.manual_seed(0), random.seed(0), np.random.seed(0)  # noqa: NPY002
    batches = iter(loader().batch_sampler)
    assert [Drawing()[index] for index in next(batches)]
    assert draw() == expected

    torch.manual_seed(0), random.seed(0), np.random.seed(0)  # noqa: NPY002
    with pytest.raises(IndexError):
        [Drawing()[-1 - index] for index in next(batches)]
    assert draw() == expected


def test_an_image_that_comes_twice_has_other_views():
    class Same(DistributedSampler):
        def __iter__(self):
            return iter([4] * 10)

    batches = SeededBatchSampler(Same(Drawing(), 1, 0), BATCH)
    drawn = [values for batch in DataLoader(Drawing(), batch_sampler=batches, collate_fn=list) for _, values in batch]
    assert len(set(drawn)) == 10


def of_rank(rank):
    """The sampler asks the process group for the rank."""
    return epoch_of(loader(ranks=2, rank=rank, drop_last=False), 3)


def test_ranks_share_what_one_process_draws(run_on_ranks):
    ranks = [[item for batch in batches for item in batch] for batches in run_on_ranks(of_rank, 2)]
    together = [item for pair in zip(*ranks, strict=True) for item in pair]
    alone = [item for batch in epoch_of(loader(drop_last=False), 3) for item in batch]
    assert together[:IMAGES] == alone
    # The image that fills up the last pair.
    assert together[IMAGES][0] == alone[0][0]
    assert together[IMAGES][1] != alone[0][1]


def test_an_iteration_that_begins_later_gives_the_same_batches():
    whole = epoch_of(loader(), 1)
    later = loader()
    later.batch_sampler.skip(2)
    assert epoch_of(later, 1) == whole[2:]
    assert len(later) == len(whole)
    assert epoch_of(later, 1) == whole


def test_a_sampler_without_a_seed_is_refused():
    with pytest.raises(TypeError, match=r"must have an integer seed, as .*, got RandomSampler\."):
        SeededBatchSampler(RandomSampler(Drawing()), BATCH)
