"""The few verbs that the workloads use, and what a system says when it has no such verb."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any, ClassVar, Final, NoReturn

NUM_WORKERS: Final = 2

Ref = Any  # whatever the system hands back for a call
Submit = Callable[..., Ref]


class CannotDo(Exception):
    """The system has no such feature; its result for the workload is empty, not bad."""

    def __init__(self, system: str, feature: str) -> None:
        super().__init__(system, feature)
        self.system = system
        self.feature = feature

    def __str__(self) -> str:
        return f"{self.system} has no {self.feature}"


class Adapter:
    """One system. What is not overridden is what the system cannot do.

    The verbs return the system's own callables wherever possible, so that nothing of ours stands
    between a timed loop and the system.
    """

    name: ClassVar[str]
    module: ClassVar[str]  # what a user imports; the workload `start` times it
    distribution: ClassVar[str | None] = (
        None  # on the package index; None: comes with Python or with us
    )
    setup: ClassVar[
        str
    ]  # source that defines run(function, items) -> list and stop(); see lifecycle.py

    @classmethod
    def version(cls) -> str | None:
        return metadata.version(cls.distribution) if cls.distribution else None

    def start(self, num_cpus: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Stop at once; pending tasks are dropped."""
        raise NotImplementedError

    @contextmanager
    def started(self, num_cpus: int = NUM_WORKERS) -> Iterator[None]:
        self.start(num_cpus)
        try:
            yield
        finally:
            self.close()

    def task(self, function: Callable[..., Any]) -> Submit:
        """Return what submits one call of `function`, a function of an importable module."""
        self._cannot("tasks submitted one by one")

    def get(self, ref: Ref) -> Any:
        self._cannot("tasks submitted one by one")

    def gather(self, refs: Sequence[Ref]) -> list[Any]:
        return [self.get(ref) for ref in refs]

    def wait(self, refs: list[Ref]) -> tuple[list[Ref], list[Ref]]:
        """Wait for one; return (one that is done, the others)."""
        self._cannot("wait")

    def put(self, value: Any) -> Ref:
        self._cannot("put")

    def actor_method(self, actor_class: type, method: str) -> Submit:
        """Make an actor that lives until `close`; return what submits one call of its method."""
        self._cannot("actors")

    def nested_task(self) -> Callable[[int], int]:
        """Return a function for `task` that submits n no-op tasks and adds up their values."""
        self._cannot("tasks that submit tasks")

    def combine(self, function: Callable[..., Any]) -> Submit:
        """Return what submits one call of `function` with refs of unfinished tasks."""
        self._cannot("refs as arguments")

    def map(
        self, function: Callable[..., Any], items: Sequence[Any], shared: tuple[Any, ...] = ()
    ) -> list[Any]:
        """Return [function(*shared, item) for item in items], as the system's users write it."""
        submit = self.task(function)
        return self.gather([submit(*shared, item) for item in items])

    def joblib_backend(self) -> str:
        """Return the name under which joblib knows the system."""
        self._cannot("joblib")

    def _cannot(self, feature: str) -> NoReturn:
        raise CannotDo(self.name, feature)
