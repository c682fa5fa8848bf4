"""Time and memory of the kNN evaluation at ImageNet-like size: 50,000 vectors that vote, 10,000 queries, d = 512.

python tests/benchmarks/knn.py
"""

import resource
import time
import warnings

import torch

with warnings.catch_warnings():
    # What the host warns of at import.
    warnings.simplefilter("ignore")
    from imsvd_plugins.evaluation.knn import knn_accuracy

generator = torch.Generator().manual_seed(0)
bank, queries = (torch.randn(count, 512, generator=generator) for count in (50_000, 10_000))
bank_labels, query_labels = (torch.randint(0, 1000, (count,), generator=generator) for count in (50_000, 10_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
knn_accuracy(bank, bank_labels, queries, query_labels, k=[10, 20, 100, 200])
seconds = time.perf_counter() - start
extra = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(f"{seconds:.1f} s, {extra * 1024 / 1e6:,.0f} MB beyond both sets' 123 MB")
