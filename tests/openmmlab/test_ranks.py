"""What several gloo ranks compute. The ranks read this file too, so the host is imported where it is used."""

import warnings

import pytest
import torch
import torch.distributed as dist


def head_losses(z, **ranks):
    with warnings.catch_warnings():
        # What the host warns of at import.
        warnings.simplefilter("ignore")
        from imsvd_plugins.openmmlab import HSICHead, IMSVDHead

    imsvd = IMSVDHead({"type": "imsvd_plugins.IMSVDLoss", "num_bins": 4, **ranks})
    hsic = HSICHead({"type": "imsvd_plugins.HSICLoss", **ranks})
    return [head.loss(*z).item() for head in (imsvd, hsic)]


def projections():
    """Two views' projections of four ranks."""
    return torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))


def head_losses_in_groups(rank):
    """Ranks 0 and 1 are one group, 2 and 3 the other."""
    group = [dist.new_group([0, 1]), dist.new_group([2, 3])][rank // 2]
    return head_losses(projections()[:, rank], process_group=group)


def test_a_heads_process_group_is_whose_batches_its_loss_is_of(run_on_ranks):
    answers = run_on_ranks(head_losses_in_groups, 4)
    for rank, losses in enumerate(answers):
        of_its_group = projections()[:, rank // 2 * 2 :][:, :2].flatten(1, 2)
        assert losses == pytest.approx(head_losses(of_its_group), rel=1e-4)
