r"""The joint distribution of all pairs of ``V`` views, by ``V - 1`` products instead of ``V (V - 1) / 2``.

.. math::
    P = \frac{2}{V (V - 1)} \sum_{a < b} \frac{p_a^\top p_b}{N}
      = \frac{1}{(V - 1) N} \sum_b \Bigl(\frac{2}{V} \sum_{a < b} p_a\Bigr)^\top p_b

The right side is one joint distribution of ``(V - 1) N`` samples: each view is paired with the scaled sum of the
earlier ones.
"""

from itertools import pairwise

import torch
from torch import Tensor


def stack_pairs(p_views: list[Tensor]) -> tuple[Tensor, Tensor]:
    """What to pair: the scaled sums of earlier views, and the later views, both ``((V - 1) N, D)``.

    Args:
        p_views: Two or more views' probabilities ``(N, D)``. Of two, the one is paired with the other as they are.
    """
    if len(p_views) == 2:
        return p_views[0], p_views[1]
    sums = torch.stack(p_views[:-1])
    for before, here in pairwise(sums):
        here.add_(before)
    return sums.mul_(2 / len(p_views)).flatten(0, 1), torch.cat(p_views[1:])


def unstack_gradients(gradients: tuple[Tensor, Tensor], num_views: int) -> list[Tensor]:
    """The gradients in the views ``(N, D)`` from those in what :func:`stack_pairs` gave, which are overwritten."""
    dim = gradients[0].shape[1]
    earlier, later = (gradient.view(num_views - 1, -1, dim) for gradient in gradients)
    if num_views == 2:
        return [earlier[0], later[0]]
    for here, before in pairwise(reversed(earlier.unbind())):
        before.add_(here)
    earlier.mul_(2 / num_views)
    return [earlier[0], *(later[:-1] + earlier[1:]).unbind(), later[-1]]
