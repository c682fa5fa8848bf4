"""How many bins a batch can fill."""

# Maximal number of a joint distribution's cells per sample of the batch; the papers' recipes have up to 3.1.
_CELLS_PER_SAMPLE = 4


class TooManyBinsWarning(UserWarning):
    """The batch is far too small for the maximal joint entropy of two variables."""


def too_many_bins(num_bins: int, samples: int) -> str | None:
    """A warning if the batch is far smaller than the number of cells of a joint distribution.

    Args:
        num_bins: Bins ``K`` of a variable.
        samples: Samples ``N`` in the batch that gives the joint distribution.

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
