"""joblib: calls one by one go to its executor (loky), maps to `Parallel` with its own batching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from benchmarks.adapter import NUM_WORKERS, Adapter, Ref, Submit


class JoblibLoky(Adapter):
    name = "joblib"
    module = "joblib"
    distribution = "joblib"
    setup = """
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
def run(function, items):
    return Parallel(n_jobs=2)(delayed(function)(item) for item in items)
def stop():
    get_reusable_executor().shutdown(wait=True)
"""

    def __init__(self) -> None:
        self._num_cpus = NUM_WORKERS
        self._executor: Any = None

    def start(self, num_cpus: int) -> None:
        self._num_cpus = num_cpus

    def close(self) -> None:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
        self._executor = None

    def task(self, function: Callable[..., Any]) -> Submit:
        if self._executor is None:  # `map` makes its own
            self._executor = get_reusable_executor(max_workers=self._num_cpus, timeout=None)
        return partial(self._executor.submit, function)

    def get(self, ref: Ref) -> Any:
        return ref.result()

    def wait(self, refs: list[Ref]) -> tuple[list[Ref], list[Ref]]:
        done = wait(refs, return_when=FIRST_COMPLETED).done
        first = next(iter(done))
        return [first], [ref for ref in refs if ref is not first]

    def map(
        self, function: Callable[..., Any], items: Sequence[Any], shared: tuple[Any, ...] = ()
    ) -> list[Any]:
        calls = (delayed(function)(*shared, item) for item in items)
        return list(Parallel(n_jobs=self._num_cpus)(calls))

    def joblib_backend(self) -> str:
        return "loky"
