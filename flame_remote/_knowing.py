"""What is going on: explain, context, timeline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flame_remote import _current, _ids
from flame_remote._current import current_engine, require_usable
from flame_remote._execute.attempts import attempt as attempt_here
from flame_remote._given_refs import checked_refs
from flame_remote._gpus import visible_gpus
from flame_remote._ids import TaskId
from flame_remote._refs import ObjectRef
from flame_remote.engine import Engine
from flame_remote.exceptions import EngineError

if TYPE_CHECKING:
    from flame_remote._facts import CallFacts


def explain(ref: ObjectRef[Any]) -> str:
    """Say in one sentence why a result is not there yet, or what is there instead.

    What its call waits for, and what that waits for; who holds what it needs; where it runs and
    since when; its place in the queue of its actor; how it has ended.

    Args:
        ref: what `.remote()` or `put` returned.

    Raises:
        RefMisuseError: `ref` is no ref.
        SessionEndedError: the ref belongs to a session that has ended.
    """
    (ref,) = checked_refs([ref], "explain")
    require_usable(ref._engine, "an ObjectRef")
    return ref._engine.explain(ref)


def timeline(path: str | os.PathLike[str]) -> int:
    """Write when calls of this session ran, for chrome://tracing or ui.perfetto.dev.

    The session must have been started with `flame.init(timeline=True)` or FLAME_TIMELINE=1. Of
    very many calls, the last 100000 are in it.

    Args:
        path: the file, JSON.

    Returns:
        How many calls are in the file.

    Raises:
        EngineError: nothing was noted.
        OSError: the file cannot be written.
    """
    engine = current_engine()
    if engine is None:
        raise EngineError("flame.timeline() needs a session that runs: nothing was called yet")
    return engine.timeline().write(path)


def get_gpu_ids() -> list[int | str]:
    """Return the GPUs that the calling code may use, by their numbers or by the names given.

    In a task or actor those that were assigned to it, which is what CUDA_VISIBLE_DEVICES says
    there; in the main program, and everywhere on the inline engine, all that the engine has.
    Starts nothing: before an engine runs, it is those that this process sees.
    """
    engine = current_engine()
    names = visible_gpus() if engine is None else engine.gpus
    return [int(name) if name.isdecimal() else name for name in names]


class Context:
    """Where the code runs that asked for it: in which call, of which actor. See `context`.

    What costs a question to the main program is asked for once, when it is first wanted.
    """

    def __init__(self, engine: Engine | None, task: TaskId) -> None:
        self._engine = engine
        self._task = task
        self._facts: CallFacts | None = None

    def _known(self) -> CallFacts:
        if self._facts is None:
            from flame_remote._facts import CallFacts  # making dataclasses takes milliseconds

            self._facts = CallFacts() if self._engine is None else self._engine.call_facts()
        return self._facts

    @property
    def task_id(self) -> str:
        """The call's id as messages show it, "#12"; "" in the main program."""
        return _ids.show(self._task) if self._task else ""

    @property
    def task_name(self) -> str:
        """The call's name; "" in the main program."""
        return self._known().name

    @property
    def attempt(self) -> int | None:
        """How often the call was started, this time included; None in the main program."""
        known = self._known().attempt
        return None if known is None else max(known, attempt_here.get())

    @property
    def actor_id(self) -> str:
        """The actor that the call runs on, "" if on none."""
        return self._known().actor

    @property
    def actor_name(self) -> str:
        """The name of that actor's class."""
        return self._known().actor_name

    @property
    def resources(self) -> Mapping[str, float]:
        """What the call, or its actor, was assigned; in the main program, all there is."""
        if self._task or self._engine is None:
            return self._known().resources or {}
        return self._engine.resources()

    @property
    def deadline(self) -> float | None:
        """The earliest deadline of the scopes around, a moment of time.monotonic(); or None."""
        return self._known().deadline

    @property
    def is_cancelled(self) -> bool:
        """Whether the call was cancelled: to be asked now and then where nothing interrupts it."""
        return self._engine is not None and self._engine.is_cancelled()

    @property
    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def __repr__(self) -> str:
        if not self._task:
            return f"<flame context: main program, pid {self.pid}>"
        return f"<flame context: {self.task_name}() {self.task_id}, pid {self.pid}>"


def context() -> Context:
    """Return where the calling code runs: in which call, on which actor, until when.

    Inside a task and outside; starts nothing.
    """
    engine = _current.engine
    return Context(engine, 0 if engine is None else engine.current_task())
