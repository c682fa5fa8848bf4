"""What one rank of a distributed test does.

`run_on_ranks` in conftest.py starts this file by its path, in a process of its own. It is given the globals rank,
world_size, store, results (a queue), file, name and args: the function `name` of the test module `file` is called as
`function(rank, *args)`.
"""

import faulthandler
import gc
import pickle
import runpy
import traceback
import warnings
from datetime import timedelta

import torch
import torch.distributed as dist


def main(*, rank, world_size, store, results, file, name, args):
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", r"num_bins = \d+ with a batch of \d+")  # batches are small, as in pyproject.toml
    faulthandler.dump_traceback_later(100)  # shows where a rank hangs
    try:
        # A file, not a port: no other process can take it first.
        dist.init_process_group(
            "gloo",
            store=dist.FileStore(store, world_size),
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=60),
        )
        answer = runpy.run_path(file)[name](rank, *args)
        dist.barrier()
        # Pickled here, so that tensors travel by value: this process may be gone before they are read.
        results.put((rank, True, pickle.dumps(answer)))
    except BaseException:
        results.put((rank, False, traceback.format_exc()))
    finally:
        faulthandler.cancel_dump_traceback_later()
        if dist.is_initialized():
            gc.collect()  # a model in a reference cycle would hold the group, and its threads, until the process ends
            dist.destroy_process_group()


if __name__ == "__rank__":
    main(
        rank=rank,  # noqa: F821
        world_size=world_size,  # noqa: F821
        store=store,  # noqa: F821
        results=results,  # noqa: F821
        file=file,  # noqa: F821
        name=name,  # noqa: F821
        args=args,  # noqa: F821
    )
