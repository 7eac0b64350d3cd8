"""concurrent.futures.ProcessPoolExecutor with forked workers."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from typing import Any

from benchmarks.adapter import Adapter, Ref, Submit


class ProcessPool(Adapter):
    name = "process_pool"
    module = "concurrent.futures.process"
    setup = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
pool = ProcessPoolExecutor(2, multiprocessing.get_context("fork"))
def run(function, items):
    return [future.result() for future in [pool.submit(function, item) for item in items]]
stop = pool.shutdown
"""

    _pool: ProcessPoolExecutor

    def start(self, num_cpus: int) -> None:
        self._pool = ProcessPoolExecutor(num_cpus, multiprocessing.get_context("fork"))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def task(self, function: Callable[..., Any]) -> Submit:
        return partial(self._pool.submit, function)

    def get(self, ref: Ref) -> Any:
        return ref.result()

    def wait(self, refs: list[Ref]) -> tuple[list[Ref], list[Ref]]:
        done = wait(refs, return_when=FIRST_COMPLETED).done
        first = next(iter(done))
        return [first], [ref for ref in refs if ref is not first]
