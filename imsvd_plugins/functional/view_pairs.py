r"""The joint distribution of all pairs of ``V`` views, by ``V - 1`` products instead of ``V (V - 1) / 2``.

.. math::
    P = \frac{2}{V (V - 1)} \sum_{a < b} \frac{p_a^\top p_b}{N}
      = \frac{2}{V (V - 1) N} \sum_b \Bigl(\sum_{a < b} p_a\Bigr)^\top p_b

The right side is one product over ``(V - 1) N`` samples: each view is paired with the sum of the earlier ones.
"""

from itertools import pairwise

from torch import Tensor


def stack_pairs(p_views: Tensor) -> tuple[Tensor, Tensor]:
    """What to pair: the sums of earlier views, and the later views, both ``((V - 1) N, D)``.

    Args:
        p_views: Two or more views' probabilities ``(V, N, D)``. Of two, the one is paired with the other as they are.
    """
    earlier, later = p_views[:-1], p_views[1:]
    if len(p_views) > 2:
        earlier = earlier.cumsum(dim=0)
    return earlier.flatten(0, 1), later.flatten(0, 1)


def unstack_gradients(gradients: tuple[Tensor, Tensor], num_views: int) -> list[Tensor]:
    """The gradients in the views ``(N, D)`` from those in what :func:`stack_pairs` gave, which are overwritten."""
    dim = gradients[0].shape[1]
    earlier, later = (gradient.view(num_views - 1, -1, dim) for gradient in gradients)
    for here, before in pairwise(reversed(earlier.unbind())):
        before.add_(here)
    later[:-1].add_(earlier[1:])
    return [earlier[0], *later.unbind()]
