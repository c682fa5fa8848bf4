"""How many bins a batch can fill."""

# Cells of a joint distribution for each sample of the batch; the papers' recipes have up to 3.1.
_CELLS_PER_SAMPLE = 4


class TooManyBinsWarning(UserWarning):
    """The joint entropy of two variables is far out of the batch's reach."""


def too_many_bins(num_bins: int, samples: int) -> str | None:
    """What to do about a batch that is far smaller than the cells of a joint distribution.

    Args:
        num_bins: Bins ``K`` of a variable.
        samples: Samples ``N`` in the batch of which the joint distribution is.

    Returns:
        One line; None if the batch is large enough.
    """
    if num_bins**2 <= _CELLS_PER_SAMPLE * samples:
        return None
    return (
        f"num_bins = {num_bins} with a batch of {samples}: the joint entropy of two variables cannot exceed log "
        f"{samples} for one-hot codes, far from 2 log {num_bins}. Near {max(2, round(samples**0.5))} bins, or a larger "
        "batch, the two meet."
    )
