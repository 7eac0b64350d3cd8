"""Values whose arrays cannot be written to, for those who ask for that."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import packing

_mode = threading.local()


@contextmanager
def arrays_read_only() -> Iterator[None]:
    """Within the block, what this thread unpacks has read-only buffers and numpy arrays."""
    before = getattr(_mode, "is_on", False)
    packing.special_unpack = _unpack  # for good: others look at their own mode
    _mode.is_on = True
    try:
        yield
    finally:
        _mode.is_on = before


def _unpack(data: bytes | memoryview, buffers: Sequence[Any]) -> Any:
    """Rebuild a value, with arrays that cannot be written to if this thread wants them so."""
    if not getattr(_mode, "is_on", False):
        return pickle.loads(data, buffers=buffers)
    views = [memoryview(buffer).toreadonly() for buffer in buffers]
    value = _Unpickler(io.BytesIO(data), buffers=views).load()
    if type(value).__module__ == "numpy" and hasattr(value, "setflags"):
        value.setflags(write=False)  # one that does not lie in one piece
    return value


class _Unpickler(pickle.Unpickler):
    """Takes the right to write from small arrays, too, which come inside the pickle."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if name == "_frombuffer" and module.partition(".")[0] == "numpy":
            return _locked(found)
        return found


def _locked(make: Callable[..., Any]) -> Callable[..., Any]:
    def make_locked(*args: Any) -> Any:
        array = make(*args)
        array.setflags(write=False)
        return array

    return make_locked
