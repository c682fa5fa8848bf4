"""Files that look like checkpoints and ask for more than data; each is written as raw pickle opcodes."""

import zipfile
from pathlib import Path


def _name(path: str) -> bytes:
    module, _, attribute = path.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def _dtype(code: str) -> bytes:
    return _name("numpy.dtype") + _text(code) + b"\x85R"


def _array(code: str, values: bytes, shape: bytes = b"K\1\x85") -> bytes:
    """An array as numpy pickles it: an empty one, whose state follows."""
    empty = _name("numpy.core.multiarray._reconstruct") + _name("numpy.ndarray") + b"K\0\x85U\1b\x87R"
    encoded = _name("_codecs.encode") + _text(values.decode("ascii")) + _text("latin1") + b"\x86R"
    return empty + b"(K\1" + shape + _dtype(code) + b"\x89" + encoded + b"tb"


_EIGHT = b"A" * 8
# A description of each file, and the object that it asks for.
PAYLOADS = {
    "an array of objects over bytes of its choice": (
        _name("numpy.ndarray") + b"K\1\x85" + _dtype("O") + _array("f8", _EIGHT) + b"\x87R"
    ),
    "ndarray called as a constructor": _name("numpy.ndarray") + b"K\1\x85" + _dtype("f8") + b"\x86R",
    "ndarray made without a call": _name("numpy.ndarray") + b"K\1\x85" + _dtype("f8") + b"\x86\x81",
    "a numeric dtype that its state turns into one of objects": (
        # (version, byte order, subarray, names, fields, size, alignment, flags)
        _dtype("f8") + b"(K\3U\1|NNNK\x08K\x08K\x3ftb"
    ),
    "an array of objects": _array("O", _EIGHT),
    "an array that is larger than its bytes": _array("f8", _EIGHT, shape=b"J\xff\xff\xff\x7f\x85"),
    "an array of a negative shape": _array("f8", _EIGHT, shape=b"J\xff\xff\xff\xff\x85"),
    "a scalar that is an object": (_name("numpy.core.multiarray.scalar") + _dtype("O") + b"U\x08" + _EIGHT + b"\x86R"),
    "a command": _name("os.system") + _text("echo run > run") + b"\x85R",
    "a function of a module, by getattr": (_name("builtins.getattr") + _name("os.path") + _text("exists") + b"\x86R"),
    "a history without numbers": _name("mmengine.logging.history_buffer.HistoryBuffer") + b")\x81}b",
}


def write(path: Path, payload: bytes) -> Path:
    """Write ``{"state_dict": {"backbone.weight": payload}}`` as torch writes a checkpoint."""
    inner = b"}" + _text("backbone.weight") + payload + b"s"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\2}" + _text("state_dict") + inner + b"s.")
        archive.writestr("a/version", "3\n")
        archive.writestr("a/byteorder", "little")
    return path
