"""Packs torchvision's CIFAR-10 into one file of JPEG images, as the benchmarks read it.

    python pack_cifar10.py --data datasets/cifar10 --download --output packed.npz

JPEG of Pillow's default quality, 75, makes an eighth of the size and loses detail: accuracies on packed images compare
with accuracies on packed images alone.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10
from tqdm import tqdm

QUALITY = 75


def pack(dataset, split):
    """The arrays of one split, as `imsvd_plugins.lightly.packed.PackedImages` wants them."""
    files = []
    for image, _ in tqdm(dataset, f"{split} images"):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=QUALITY)
        files.append(file.getvalue())
    return {
        f"{split}_jpeg": np.frombuffer(b"".join(files), np.uint8),
        f"{split}_offsets": np.cumsum([0, *map(len, files)]),
        f"{split}_labels": np.array(dataset.targets, np.uint8),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Packs torchvision's CIFAR-10 into one file of JPEG images.")
    add = parser.add_argument
    add("--data", type=Path, default=Path("datasets", "cifar10"), help="torchvision's folder; default: %(default)s")
    add("--download", action="store_true", help="download CIFAR-10 into --data if it is not there")
    add("--output", type=Path, required=True, help="the packed file, .npz")
    options = parser.parse_args(arguments)
    if options.output.suffix != ".npz":
        parser.error(f"--output must end in .npz, got {str(options.output)!r}.")
    if options.output.exists():
        parser.error(f"--output {options.output} exists: give another name.")
    if not options.output.parent.is_dir():
        parser.error(f"--output must be in an existing folder, got {str(options.output)!r}.")
    try:
        splits = [("train", CIFAR10(options.data, True, download=options.download))]
        splits.append(("test", CIFAR10(options.data, False)))
    except RuntimeError:  # torchvision's, whose text names no option of this command
        parser.error(f"--data {options.data} holds no whole CIFAR-10: give torchvision's folder, or --download.")
    content = {"classes": np.array(splits[0][1].classes)}
    for split, dataset in splits:
        content |= pack(dataset, split)
    part = options.output.with_suffix(".part.npz")
    try:
        np.savez_compressed(part, **content)
        part.replace(options.output)
    finally:
        part.unlink(missing_ok=True)
    print(f"Wrote {options.output}: {' and '.join(f'{len(dataset)} {split}' for split, dataset in splits)} images.")


if __name__ == "__main__":
    main()
