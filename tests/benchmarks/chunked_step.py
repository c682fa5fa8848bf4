"""A training step of a ResNet-18 with `chunk_size`, beside the whole batch and a whole batch of a chunk's size.

    python tests/benchmarks/chunked_step.py [--batch 512] [--chunk 64] [--size 64] [--repeats 3] [--threads 1]

Both objectives are taken, by mmpretrain's algorithms: two views, a projector of 2048 hidden units, and for SSL-HSIC a
predictor and the target network. Every candidate is a process of its own. Memory is the peak of its first step beyond
what was there before: libraries, weights and the batch of views. Time is the processor's, which other work on the
machine disturbs least, and the timed steps are taken in turn.

A chunked step may take 1.25 times the memory of a batch of a chunk's size, plus what the loss alone takes for the whole
batch and the projections that are its inputs. It may take 1.45 times the time of the whole batch.
"""

import argparse
import multiprocessing
import statistics
import time
import warnings

WIDTHS = {"imsvd": 2048, "ssl-hsic": 256}


def neck(in_channels, out_channels, pool):
    return dict(
        type="NonLinearNeck",
        in_channels=in_channels,
        hid_channels=2048,
        out_channels=out_channels,
        num_layers=2,
        with_last_bn=False,
        with_avg_pool=pool,
        norm_cfg=dict(type="BN1d"),
    )


def make_model(objective, chunk_size):
    from mmengine.logging import MessageHub
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS

    init_default_scope("mmpretrain")
    MessageHub.get_current_instance().update_info("max_iters", 1000)  # of the target network's schedule
    width = WIDTHS[objective]
    parts = dict(
        backbone=dict(type="ResNet", depth=18, norm_cfg=dict(type="BN")),
        neck=neck(512, width, pool=True),
        chunk_size=chunk_size,
    )
    if objective == "imsvd":
        loss = dict(type="imsvd_plugins.IMSVDLoss", num_bins=32)
        return MODELS.build(
            dict(type="imsvd_plugins.IMSVD", head=dict(type="imsvd_plugins.IMSVDHead", loss=loss), **parts)
        )
    loss = dict(type="imsvd_plugins.HSICLoss")
    head = dict(type="imsvd_plugins.HSICHead", loss=loss, predictor=neck(width, width, pool=False))
    return MODELS.build(dict(type="imsvd_plugins.SSLHSIC", head=head, **parts))


def make_step(objective, batch, chunk_size, size):
    """A step of the whole model or, where there are no images, of its loss alone."""
    import torch

    torch.manual_seed(0)
    model = make_model(objective, chunk_size)
    if size is None:
        # SSL-HSIC's loss takes the target network's projections too, which have no gradient.
        targets = list(torch.randn(2, batch, WIDTHS[objective])) if objective == "ssl-hsic" else []
        views = [z.requires_grad_() for z in torch.randn(2, batch, WIDTHS[objective])]
        parameters = [*views, *model.head.loss_module.parameters()]
    else:
        views = list(torch.randn(2, batch, 3, size, size))
        parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.01)

    def step():
        optimizer.zero_grad()
        loss = model.head.loss_module(*views, *targets) if size is None else model.loss(views, [])["loss"]
        loss.backward()
        optimizer.step()

    return step


def candidate(threads, objective, batch, chunk_size, size, pipe):
    """The process of one candidate: its first step's memory, then a step's processor time at every request."""
    warnings.simplefilter("ignore")  # what the host warns of at import
    import torch

    from imsvd_plugins.commands.benchmark.measure import first_step

    torch.set_num_threads(threads)
    # What is loaded or set up at the first step is not the step's memory.
    make_step(objective, 8, None if chunk_size is None else 4, size)()
    step = make_step(objective, batch, chunk_size, size)
    memory_bytes, _ = first_step(step, torch.device("cpu"))
    pipe.send(memory_bytes)
    while pipe.recv():
        start = time.process_time()
        step()
        pipe.send(time.process_time() - start)


def measure(candidates, repeats, threads):
    """Bytes and seconds of each step, by candidate."""
    context = multiprocessing.get_context("spawn")
    pipes, memory = {}, {}
    for name, arguments in candidates.items():
        pipes[name], end = context.Pipe()
        context.Process(target=candidate, args=(threads, *arguments, end), daemon=True).start()
        end.close()  # so that the end of the process is the end of the pipe
        memory[name] = pipes[name].recv()
    seconds = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    return memory, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--objectives", nargs="+", default=list(WIDTHS), choices=list(WIDTHS))
    arguments = parser.parse_args()
    batch, chunk, size = arguments.batch, arguments.chunk, arguments.size
    for objective in arguments.objectives:
        candidates = {
            f"batch {batch} in chunks of {chunk}": (objective, batch, chunk, size),
            f"batch {batch}": (objective, batch, None, size),
            f"batch {chunk}": (objective, chunk, None, size),
            f"the loss alone, batch {batch}": (objective, batch, None, None),
        }
        memory, seconds = measure(candidates, arguments.repeats, arguments.threads)
        print(f"{objective}, {size} x {size} pixels")
        for name, times in seconds.items():
            print(f"  {name:28s} median {statistics.median(times):7.3f} s   memory {memory[name] / 1e6:8,.0f} MB")
        chunked, whole, small, loss = memory.values()
        vectors = 4 * batch * WIDTHS[objective] * (2 if objective == "imsvd" else 4)
        allowed = 1.25 * small + loss + vectors
        ratios = [a / b for a, b in zip(*list(seconds.values())[:2], strict=True)]
        print(f"  time, of the whole batch's: {statistics.median(ratios):.2f} (allowed 1.45)")
        print(f"  memory, of the whole batch's: {chunked / whole:.2f}, of a chunk's alone: {chunked / small:.2f}")
        print(f"  memory, of what is allowed: {chunked / allowed:.2f} ({allowed / 1e6:,.0f} MB)", flush=True)


if __name__ == "__main__":
    main()
