"""multiprocessing.Pool with forked workers."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.adapter import Adapter, Ref, Submit


class MultiprocessingPool(Adapter):
    name = "multiprocessing"
    module = "multiprocessing.pool"
    setup = """
import multiprocessing
pool = multiprocessing.get_context("fork").Pool(2)
def run(function, items):
    return pool.map(function, items, chunksize=1)
def stop():
    pool.close()
    pool.join()
"""

    def start(self, num_cpus: int) -> None:
        self._pool = multiprocessing.get_context("fork").Pool(num_cpus)

    def close(self) -> None:
        self._pool.terminate()
        self._pool.join()

    def task(self, function: Callable[..., Any]) -> Submit:
        def submit(*arguments: Any) -> Ref:
            return self._pool.apply_async(function, arguments)

        return submit

    def get(self, ref: Ref) -> Any:
        return ref.get()

    def map(
        self, function: Callable[..., Any], items: Sequence[Any], shared: tuple[Any, ...] = ()
    ) -> list[Any]:
        return self._pool.map(partial(function, *shared) if shared else function, items)
