"""Images of a folder, a packed file or the embedded digits, one at a time: in RGB, or as unchanged arrays."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imsvd_plugins.data.array_files import SUFFIXES as ARRAY_SUFFIXES
from imsvd_plugins.data.array_files import ArrayFormat, find_array_files, read_array
from imsvd_plugins.data.digits import NUM_CLASSES, load_digits
from imsvd_plugins.data.image_files import SUFFIXES, find_image_files, printable_name, read_image
from imsvd_plugins.data.packed import PackedSplit, packed_splits, read_packed

_DIGITS = "digits"


class UnreadableImageError(ValueError):
    """An image cannot be decoded.

    Args:
        name: The image's name.
        reason: What is wrong with it, in one line.
    """

    def __init__(self, name: str, reason: str) -> None:
        # Both are arguments, so that the error can be pickled between processes.
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Images(ABC):
    """Images that are decoded when they are indexed.

    Attributes:
        source: The argument of :func:`open_images`.
        names: A name for each image, unique and printable as UTF-8; it may hold any character that a file's name may.
        labels: Labels ``(n,)``, int64, -1 if unknown; None if no label is known.
        classes: Names of the classes, in the order of their labels; empty without labels.
        ignored: Names of files that were left out because their suffix is not an image's.
    """

    source: str
    names: list[str]
    labels: NDArray[np.int64] | None
    classes: list[str]
    ignored: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        """The image as an upright Pillow image in RGB, or as an array ``(C, H, W)``.

        Raises:
            IndexError: If there is no such image.
            UnreadableImageError: If it cannot be decoded.
        """
        name = self.names[index]
        try:
            return self._read(index)
        except Exception as error:
            # A damaged or malicious file can make a decoder raise anything.
            reason = " ".join((str(error) or type(error).__name__).split())
            raise UnreadableImageError(name, reason) from error

    def path(self, index: int) -> str:
        """The image's file; for images without a file, the source and the name."""
        return f"{self.source}/{self.names[index]}"

    @abstractmethod
    def _read(self, index: int) -> Any:
        """The image; errors of its decoder may propagate."""


def open_images(text: str, arrays: ArrayFormat | None = None) -> Images:
    """Find images, without decoding any.

    Args:
        text: A folder, a packed file or the digits. A folder is read with all its sub-folders. If every image lies in
            one of several sub-folders, these are the classes. A packed file
            (:func:`~imsvd_plugins.data.packed.read_packed`) is ``FILE.npz`` or, for one of its parts,
            ``FILE.npz:test``; scikit-learn's digits are ``digits`` or ``digits:test``.
        arrays: The format of the arrays, for a network that takes arrays; then ``text`` is a folder of them. None for
            images.

    Raises:
        ValueError: If ``text`` is none of these, or holds no image.
        ImportError: For the digits, if scikit-learn is not installed.
    """
    if arrays is not None:
        return _ArrayFolder(text, arrays)
    if Path(text).is_dir():
        return _Folder(text)
    name, _, split = text.rpartition(":")
    if _DIGITS in (text, name):
        return _Digits(text, split if name else "")
    file, part = (text, "") if text.lower().endswith(".npz") else (name, split)
    if file.lower().endswith(".npz"):
        return _Packed(text, file, part)
    kinds = f"a folder, a packed file (FILE.npz or FILE.npz:test) or {_DIGITS}"
    found = "is a file" if Path(text).is_file() else "is absent"
    raise ValueError(f"IMAGES must be {kinds}, and {text!r} {found}.")


class _Folder(Images):
    kind, suffixes = "images", frozenset(SUFFIXES)

    def __init__(self, root: str) -> None:
        self.source = root
        try:
            self._files, others = self._find(root)
        except ValueError as error:
            raise ValueError(f"IMAGES: {error}") from error
        self.ignored = [printable_name(file) for file in others]
        if not self._files:
            found = f"{len(others)} other file(s) such as {self.ignored[0]!r}" if others else "nothing"
            raise ValueError(
                f"IMAGES must hold {self.kind}, and {root!r} holds {found}; {self.kind} are "
                f"{', '.join(sorted(self.suffixes))}."
            )
        self.names = [printable_name(file) for file in self._files]
        folders = [Path(file).parts[0] if len(Path(file).parts) > 1 else "" for file in self._files]
        classes = sorted(set(folders))
        self.labels, self.classes = None, []
        if "" not in classes and len(classes) > 1:
            numbers = {name: number for number, name in enumerate(classes)}
            self.labels = np.array([numbers[folder] for folder in folders], np.int64)
            self.classes = [printable_name(name) for name in classes]

    def path(self, index: int) -> str:
        return os.path.join(printable_name(os.path.abspath(self.source)), self.names[index])

    def _find(self, root: str) -> tuple[list[str], list[str]]:
        return find_image_files(root)

    def _read(self, index: int) -> Any:
        return read_image(os.path.join(self.source, self._files[index]))


class _ArrayFolder(_Folder):
    kind, suffixes = "arrays", frozenset(ARRAY_SUFFIXES)

    def __init__(self, root: str, form: ArrayFormat) -> None:
        super().__init__(root)
        self._form = form

    def _find(self, root: str) -> tuple[list[str], list[str]]:
        return find_array_files(root)

    def _read(self, index: int) -> Any:
        return read_array(os.path.join(self.source, self._files[index]), self._form)


class _Packed(Images):
    def __init__(self, text: str, file: str, split: str) -> None:
        self.source = file
        self.ignored = []
        try:
            splits = [split] if split else packed_splits(file)
            if not splits:
                raise ValueError("it has no array NAME_jpeg")
            self._parts: list[tuple[str, PackedSplit]] = [(name, read_packed(file, name)) for name in splits]
        except (OSError, ValueError, BadZipFile) as error:
            raise ValueError(f"IMAGES {text!r} is no packed file of images: {error}") from error
        self._places = [(part, index) for _, part in self._parts for index in range(len(part.labels))]
        self.names = [f"{name}/{index}" for name, part in self._parts for index in range(len(part.labels))]
        self.classes = [str(name) for name in self._parts[0][1].classes]
        self.labels = np.concatenate([part.labels.astype(np.int64) for _, part in self._parts])
        if not self.names:
            raise ValueError(f"IMAGES must hold images, and {text!r} holds none.")
        if self.labels.min() < -1 or self.labels.max() >= len(self.classes):
            raise ValueError(
                f"IMAGES {text!r} is damaged: its labels go from {self.labels.min()} to {self.labels.max()}, and it "
                f"names {len(self.classes)} classes."
            )

    def _read(self, index: int) -> Image.Image:
        part, place = self._places[index]
        return read_image(part.file(place))


class _Digits(Images):
    def __init__(self, text: str, split: str) -> None:
        self.source = _DIGITS
        self.ignored = []
        if split not in ("", "train", "test"):
            raise ValueError(f"IMAGES must be digits, digits:train or digits:test, got {text!r}.")
        parts = {name: load_digits(name) for name in ([split] if split else ["train", "test"])}
        self._scans = np.concatenate([images for images, _ in parts.values()])
        self.labels = np.concatenate([labels for _, labels in parts.values()])
        self.names = [f"{name}/{index}" for name, (images, _) in parts.items() for index in range(len(images))]
        self.classes = [str(digit) for digit in range(NUM_CLASSES)]

    def _read(self, index: int) -> Image.Image:
        return Image.fromarray(self._scans[index])
