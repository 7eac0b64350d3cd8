"""Two clients of one kind of cluster: flame_remote's engine on Flame, and stock flamepy.

The cluster is ours, on this machine. Its workers are those of the interpreter that FLAMEPY_PYTHON
names: give stock flamepy's, so that both clients have the same.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from benchmarks.adapter import Adapter, Ref, Submit
from benchmarks.adapters.flame import FlameRemote

VARIABLE: Final = "FLAMEPY_PYTHON"


def start_cluster(stack: ExitStack) -> None:
    """Run a cluster until the stack is closed, and have this process use it."""
    from flame_remote.testing import local_cluster

    cluster = stack.enter_context(local_cluster(python=os.environ.get(VARIABLE)))
    os.environ.update(cluster.environment)


class FlameCluster(FlameRemote):
    name = "flame_cluster"

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()

    def start(self, num_cpus: int) -> None:
        import flame_remote as flame

        start_cluster(self._stack)
        flame.init("flame")

    def close(self) -> None:
        super().close()
        self._stack.close()


class Flamepy(Adapter):
    name = "flamepy"
    module = "flamepy"
    distribution = "flamepy"

    def __init__(self) -> None:
        import flamepy.runner  # noqa: F401  ImportError if it is not here

        self._stack = ExitStack()
        self._runner: Any = None

    def start(self, num_cpus: int) -> None:
        from flamepy.runner import Runner

        start_cluster(self._stack)
        # A Runner packs the current folder.
        os.chdir(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._runner = self._stack.enter_context(Runner("benchmarks"))

    def close(self) -> None:
        os.chdir("/")
        self._stack.close()

    def task(self, function: Callable[..., Any]) -> Submit:
        import cloudpickle

        # Workers have no `benchmarks`; our engine sends the code of such modules by itself.
        cloudpickle.register_pickle_by_value(sys.modules[function.__module__])
        service: Submit = self._runner.service(function)
        return service

    def get(self, ref: Ref) -> Any:
        return ref.get()

    def gather(self, refs: Sequence[Ref]) -> list[Any]:
        values: list[Any] = self._runner.get(list(refs))
        return values

    def put(self, value: Any) -> Ref:
        return self._runner.put_object(value)
