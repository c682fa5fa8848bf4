"""Files of embeddings, written row by row. A file appears only when it is complete."""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imsvd_plugins.explain.embed import Embedding
from imsvd_plugins.explain.images import Images
from imsvd_plugins.extras import MissingExtraError

SUFFIXES = (".npz", ".parquet")
# Size of a Parquet row group, which is kept in memory while writing and can be read on its own.
_GROUP_BYTES = 16 * 2**20


class EmbeddingWriter(Protocol):
    """Writes embeddings in the images' order."""

    def write(self, embedding: Embedding) -> None:
        """Append rows."""


@contextmanager
def embedding_file(file: Path, images: Images) -> Iterator[EmbeddingWriter]:
    """A file that appears when the block ends without an error, and then replaces an existing file of this name.

    An ``.npz`` holds ``path`` and ``features``; if there are labels, ``label`` (int64, -1: unknown) and ``classes``;
    and the embedding's ``bins`` and ``bin_probabilities``, or ``projections``. A ``.parquet`` has them as columns, with
    the class's name or null as ``label``.

    Args:
        file: Its name; the suffix determines the format.
        images: The images, for their paths and labels.

    Raises:
        ImportError: If pyarrow, which Parquet needs, is not installed.
        OSError: If it cannot be written.
        ValueError: If the suffix is not in :data:`SUFFIXES`.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--out must end with {' or '.join(SUFFIXES)}, got {str(file)!r}.")
    kind = _Parquet if file.suffix.lower() == ".parquet" else _Npz
    # In the same folder, so that a rename works.
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
        part = Path(folder, "part")
        writer = kind(part, images)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()
        os.replace(part, file)


class _Npz:
    """Keeps each array in its own file until all rows are written."""

    def __init__(self, part: Path, images: Images) -> None:
        self._part = part
        self._images = images
        self._files: dict[str, IO[bytes]] = {}
        self._rows: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._written: list[int] = []

    def write(self, embedding: Embedding) -> None:
        for name, array in _arrays(embedding).items():
            if name not in self._files:
                self._files[name] = self._part.with_name(name).open("w+b")
                self._rows[name] = (array.dtype, array.shape[1:])
            self._files[name].write(np.ascontiguousarray(array).data)
        self._written += embedding.indices

    def finish(self) -> None:
        count = len(self._written)
        with zipfile.ZipFile(self._part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, file in self._files.items():
                file.seek(0)
                dtype, shape = self._rows[name]
                with _member(archive, name, dtype, (count, *shape)) as member:
                    shutil.copyfileobj(file, member, 2**20)
            paths = [self._images.path(index) for index in self._written]
            dtype = np.dtype(f"<U{max(map(len, paths))}")
            with _member(archive, "path", dtype, (count,)) as member:
                for path in paths:
                    member.write(np.array(path, dtype).tobytes())
            if self._images.labels is not None:
                for name, array in (
                    ("label", self._images.labels[self._written]),
                    ("classes", np.array(self._images.classes)),
                ):
                    with _member(archive, name, array.dtype, array.shape) as member:
                        member.write(array.tobytes())

    def close(self) -> None:
        for file in self._files.values():
            file.close()


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """An array in an archive, open for writing after its header."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        form: Any = np.lib.format  # untyped
        header = {"descr": form.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        form.write_array_header_2_0(member, header)
        yield member


class _Parquet:
    def __init__(self, part: Path, images: Images) -> None:
        try:
            import pyarrow  # noqa: PLC0415
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError as error:
            # pyarrow 26 installs beside numpy 1, but then its import fails.
            raise MissingExtraError(
                f"Parquet needs pyarrow, which cannot be imported ({error}): pip install 'imsvd_plugins[explain]'"
            ) from error
        self._arrow: Any = pyarrow
        self._parquet: Any = parquet
        self._part = part
        self._images = images
        self._writer: Any = None
        self._tables: list[Any] = []
        self._bytes = 0

    def write(self, embedding: Embedding) -> None:
        columns: dict[str, Any] = {"path": [self._images.path(index) for index in embedding.indices]}
        labels, classes = self._images.labels, self._images.classes
        names = [None if labels is None or labels[index] < 0 else classes[labels[index]] for index in embedding.indices]
        columns["label"] = self._arrow.array(names, self._arrow.string())
        columns |= {name: self._fixed_size(array) for name, array in _arrays(embedding).items()}
        self._tables.append(self._arrow.table(columns))
        self._bytes += self._tables[-1].nbytes
        if self._bytes > _GROUP_BYTES:
            self._write_group()

    def finish(self) -> None:
        self._write_group()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _fixed_size(self, array: NDArray[Any]) -> Any:
        return self._arrow.FixedSizeListArray.from_arrays(self._arrow.array(array.reshape(-1)), array.shape[1])

    def _write_group(self) -> None:
        if not self._tables:
            return
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._part, self._tables[0].schema)
        table = self._arrow.concat_tables(self._tables)
        self._writer.write_table(table, row_group_size=len(table))
        self._tables, self._bytes = [], 0


def _arrays(embedding: Embedding) -> dict[str, NDArray[Any]]:
    found = {name: array for name, array in embedding._asdict().items() if name != "indices"}
    return {name: array for name, array in found.items() if array is not None}
