"""What can be measured, and how. This module needs no torch, so that the command line can import it."""

from typing import NamedTuple

LOSSES = {
    "imsvd": "IMSVDLoss",
    "imsvd-plain": "the same formula in plain tensor operations, differentiated by autograd",
    "products": "the three matrix products that an exact IMSVD loss cannot avoid, and nothing else",
    "hsic": "HSICLoss with the paper's random features",
    "hsic-orf": "HSICLoss with orthogonal random features",
    "barlow-twins": "Lightly's BarlowTwinsLoss",
    "vicreg": "Lightly's VICRegLoss",
    "nt-xent": "Lightly's NTXentLoss",
}
MANY_VIEWS = ("imsvd", "products", "hsic", "hsic-orf")
DEVICES = ("cpu", "cuda")
DTYPES = ("float32", "float64", "bfloat16", "float16")
AUTOCAST_DTYPES = ("bfloat16", "float16")
MATMUL_PRECISIONS = ("highest", "high", "medium")


class Settings(NamedTuple):
    """Settings that all losses of a run share.

    Attributes:
        samples: Samples ``N`` of the global batch; ``ranks`` divides it.
        dim: Outputs ``D`` of the projector.
        bins: Bins ``K`` of a variable in the IMSVD losses.
        features: Random features ``F`` of the SSL-HSIC losses.
        views: Views ``V`` of the losses in :data:`MANY_VIEWS`; the others take two.
        device: One of :data:`DEVICES`.
        dtype: The views' dtype, one of :data:`DTYPES`.
        autocast: Dtype of an autocast around the loss, one of :data:`AUTOCAST_DTYPES`; None for no autocast.
        matmul_precision: For ``torch.set_float32_matmul_precision``; "high" allows TF32.
        ranks: Processes ``W`` that share the batch.
        repeats: Steps that are timed.
        threads: Threads of each rank.
    """

    samples: int = 256
    dim: int = 8160
    bins: int = 80
    features: int = 512
    views: int = 2
    device: str = "cpu"
    dtype: str = "float32"
    autocast: str | None = None
    matmul_precision: str = "highest"
    ranks: int = 1
    repeats: int = 5
    threads: int = 1
