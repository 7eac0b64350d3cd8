"""Values whose arrays cannot be written to, for those who ask for that."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_mode = threading.local()
# How many threads want that just now: where it is 0, which is nearly always, nobody need look
# further. Guarded by _lock.
wanted = 0
_lock = threading.Lock()


@contextmanager
def arrays_read_only() -> Iterator[None]:
    """Within the block, what this thread unpacks has read-only buffers and numpy arrays."""
    global wanted
    before = is_wanted_here()
    with _lock:
        wanted += 1
    _mode.is_on = True
    try:
        yield
    finally:
        _mode.is_on = before
        with _lock:
            wanted -= 1


def is_wanted_here() -> bool:
    """Say whether this thread is inside `arrays_read_only`."""
    return getattr(_mode, "is_on", False)


def load(data: bytes | memoryview, buffers: Sequence[Any]) -> Any:
    """Rebuild a value as `unpack` does, with arrays that cannot be written to."""
    views = [memoryview(buffer).toreadonly() for buffer in buffers]
    value = _Unpickler(io.BytesIO(data), buffers=views).load()
    flags = getattr(value, "flags", None)
    if type(value).__module__ == "numpy" and hasattr(flags, "writeable"):
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
