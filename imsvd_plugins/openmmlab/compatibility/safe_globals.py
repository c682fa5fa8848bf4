"""Reads the checkpoints of upstream mmengine under torch's ``weights_only``, without trusting the file.

Such a checkpoint holds tensors and the training curves: ``HistoryBuffer`` objects with numpy arrays inside. Torch
refuses their classes unless they are declared safe. Declaring numpy's own classes safe would let a file build an array
of objects over bytes of its choice. So each name that a checkpoint needs gets a stand-in that makes numbers and nothing
else. (The checkpoints of this package's configs need none: see
:class:`~imsvd_plugins.openmmlab.PlainCheckpointHook`.)
"""

from pickle import UnpicklingError
from typing import Any, NoReturn

import numpy as np
from mmengine.logging import HistoryBuffer
from numpy.typing import NDArray

# Booleans, integers and floats of up to eight bytes, in native byte order.
_NUMERIC = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"b1", "f2", "f4", "f8"}


class _Dtype:
    """Stands for a numeric dtype. It ignores its pickled state, which could turn it into another dtype."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands for an array until its state arrives; then it copies numbers out of the file's bytes."""

    values: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        match state:
            case (int(), tuple(shape), _Dtype(code=code), bool(by_columns), bytes(data)):
                numbers = np.frombuffer(data, code)
            case _:
                raise UnpicklingError("The checkpoint holds an array that is not one of numbers.")
        if not all(isinstance(length, int) and length >= 0 for length in shape) or numbers.size != np.prod(shape):
            raise UnpicklingError(f"The checkpoint holds {numbers.size} numbers for an array of shape {shape}.")
        self.values = numbers.reshape(shape, order="F" if by_columns else "C").copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.values.astype(dtype or self.values.dtype)


class _History(HistoryBuffer):
    """Becomes a ``HistoryBuffer`` when its state arrives."""

    def __setstate__(self, state: Any) -> None:
        match state:
            case {"_log_history": _Array() as log, "_count_history": _Array() as counts, "max_length": int(length)}:
                # The next checkpoint then saves mmengine's own class again.
                self.__class__ = HistoryBuffer
                HistoryBuffer.__init__(self, log.values, counts.values, length)
            case _:
                raise UnpicklingError("The checkpoint holds a HistoryBuffer without two arrays of numbers.")


def _dtype(code: object, *_: object) -> _Dtype:
    if code not in _NUMERIC:
        raise UnpicklingError(f"The checkpoint asks for numbers of type {code!r}; allowed are {sorted(_NUMERIC)}.")
    return _Dtype(str(code))


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _scalar(dtype: object, data: object) -> int | float | bool:
    if not (isinstance(dtype, _Dtype) and isinstance(data, bytes) and len(data) == np.dtype(dtype.code).itemsize):
        raise UnpicklingError("The checkpoint holds a numpy scalar that is no number.")
    number: int | float | bool = np.frombuffer(data, dtype.code)[0].item()
    return number


class _NDArray:
    """Stands for numpy's class where a file names it. No file may call it."""

    def __new__(cls, *_: object) -> NoReturn:
        raise UnpicklingError("The checkpoint calls numpy.ndarray, which none of mmengine's does.")


def _getattr(*_: object) -> None:
    """A ``HistoryBuffer`` is saved with its methods, as ``getattr(HistoryBuffer, "mean")``; it has them anyway."""


# A checkpoint uses the function names of the numpy that wrote it; numpy 2 moved two of them.
STAND_INS: Any = [
    (_History, "mmengine.logging.history_buffer.HistoryBuffer"),
    (_getattr, "builtins.getattr"),
    (_NDArray, "numpy.ndarray"),
    (_dtype, "numpy.dtype"),
    *[(_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")],
    *[(_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")],
    # Torch lets a file set the state of an object only if the object's class is declared safe.
    _Array,
    _Dtype,
]
