"""What the workers run. Importable, as most users' functions are; numpy is loaded on need."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGE_BYTES: Final = 4096
POLL_S: Final = 0.01

_large_results: dict[int, NDArray[np.float64]] = {}


def noop(value: Any = None) -> Any:
    return value


def sleep_for(seconds: float) -> float:
    """Return how long the sleep took; its overshoot is not to be held against a scheduler."""
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start


def block(folder: str) -> None:
    """Say in the folder that this worker is busy, and stay so until a file `open` is there."""
    Path(folder, f"busy-{os.getpid()}").touch()
    while not Path(folder, "open").exists():
        time.sleep(POLL_S)


def touch_pages(array: NDArray[np.float64]) -> int:
    """Read one byte of every page; return their sum."""
    return int(array.view("u1")[::PAGE_BYTES].sum())


def large_result(size_bytes: int) -> NDArray[np.float64]:
    """Return an array that is made by this worker's first such call, and costs nothing later."""
    import numpy as np

    if size_bytes not in _large_results:
        _large_results[size_bytes] = np.ones(size_bytes // 8)
    return _large_results[size_bytes]


def small_array(index: int) -> NDArray[np.float64]:
    import numpy as np

    return np.full(100, float(index))


def add(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return left + right


class Counter:
    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total
