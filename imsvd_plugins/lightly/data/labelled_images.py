"""Labelled images for a kNN evaluation: a bank that votes, and queries to classify."""

import os
from collections import defaultdict
from pathlib import PurePath
from typing import NamedTuple

from imsvd_plugins.lightly.data.folder_search import Found


class LabelledPart(NamedTuple):
    """Images ``(n,)`` of a folder and their labels."""

    root: str
    files: list[str]
    labels: list[int]


class LabelledImages(NamedTuple):
    """The images that vote and the images to classify."""

    bank: LabelledPart
    queries: LabelledPart


def find_labelled(training: Found, labelled: Found) -> LabelledImages:
    """Divide labelled images into bank and queries.

    If the labelled folder consists of the two parts ``train`` and ``val``, each with a sub-folder per class, ``train``
    is the bank. Otherwise the classes are the labelled folder's sub-folders. If the training folder has all of them
    too, its images are the bank, as usual. If not, the bank is every second image of each class.

    Args:
        training: The images of the training folder.
        labelled: The images of the labelled folder.

    Raises:
        ValueError: If no image is in a sub-folder, a class has too few images, or ``val`` has a class that ``train``
            lacks.
    """
    if {PurePath(file).parts[0] for file in labelled.readable} == {"train", "val"}:
        bank, queries = (_by_class(labelled.readable, part) for part in ("train", "val"))
        if unknown := sorted(queries.keys() - bank.keys()):
            raise ValueError(f"val_root must hold the same classes in train and val; {unknown[0]!r} is in val alone.")
        return _parts(labelled.root, bank, labelled.root, queries)
    queries = _by_class(labelled.readable)
    if not queries:
        raise ValueError(f"val_root must hold a folder of images for each class, {labelled.root!r} holds no folder.")
    of_training = _by_class(training.readable)
    # If both were one folder, each image would be its own neighbour.
    is_another = os.path.realpath(training.root) != os.path.realpath(labelled.root)
    if is_another and queries.keys() <= of_training.keys():
        return _parts(training.root, {name: of_training[name] for name in queries}, labelled.root, queries)
    if single := sorted(name for name, files in queries.items() if len(files) < 2):
        raise ValueError(
            f"val_root must hold at least 2 images for each class, one of them votes; {single[0]!r} has 1."
        )
    halves = ({name: files[first::2] for name, files in queries.items()} for first in (0, 1))
    return _parts(labelled.root, next(halves), labelled.root, next(halves))


def _by_class(files: list[str], part: str | None = None) -> dict[str, list[str]]:
    """The files in sub-folders, by the outermost sub-folder's name; with ``part``, only those within that part."""
    found = defaultdict(list)
    for file in files:
        *folders, _ = PurePath(file).parts
        if part is not None and folders[:1] == [part]:
            folders = folders[1:]
        elif part is not None:
            continue
        if folders:
            found[folders[0]].append(file)
    return dict(found)


def _parts(
    bank_root: str, bank: dict[str, list[str]], queries_root: str, queries: dict[str, list[str]]
) -> LabelledImages:
    label_of = {name: label for label, name in enumerate(sorted(bank))}
    parts = []
    for root, classes in ((bank_root, bank), (queries_root, queries)):
        pairs = [(file, label_of[name]) for name, files in sorted(classes.items()) for file in files]
        parts.append(LabelledPart(root, [file for file, _ in pairs], [label for _, label in pairs]))
    return LabelledImages(*parts)
