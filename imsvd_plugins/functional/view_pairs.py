r"""The joint distribution of all pairs of ``V`` views, with ``V - 1`` products instead of ``V (V - 1) / 2``.

.. math::
    P = \frac{2}{V (V - 1)} \sum_{a < b} \frac{p_a^\top p_b}{N}
      = \frac{2}{V (V - 1) N} \sum_b \Bigl(\sum_{a < b} p_a\Bigr)^\top p_b

The right side is one product over ``(V - 1) N`` samples: each view is paired with the sum of the earlier ones.
"""

from itertools import pairwise

import torch
from torch import Tensor


def stack_pairs(first: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two sides to pair, the sums of earlier views and the later views, both ``((V - 1) N, D)``.

    Args:
        first: The first view's probabilities ``(1, N, D)``; not copied if there is only one other view.
        others: The other views' probabilities ``(V - 1, N, D)``.
    """
    earlier = torch.cat([first, others[:-1]]).cumsum_(dim=0) if len(others) > 1 else first
    return earlier.flatten(0, 1), others.flatten(0, 1)


def unstack_gradients(grad_earlier: Tensor, grad_later: Tensor, num_views: int) -> list[Tensor]:
    """The views' gradients ``(N, D)`` from those of :func:`stack_pairs`'s outputs, which are overwritten."""
    dim = grad_earlier.shape[1]
    earlier, later = (gradient.view(num_views - 1, -1, dim) for gradient in (grad_earlier, grad_later))
    for here, before in pairwise(reversed(earlier.unbind())):
        before.add_(here)
    later[:-1].add_(earlier[1:])
    return [earlier[0], *later.unbind()]
