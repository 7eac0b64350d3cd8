"""Where the items of a stream are made: on an actor of its own, or on one that has other calls."""

from __future__ import annotations

import os
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from flame_remote._execute.iterations import BEGIN, CLOSE, NUMBER, call_name
from flame_remote._options import MethodOptions
from flame_remote._refs import ObjectRef
from flame_remote._signature import CallSignature
from flame_remote.engine import Engine
from flame_remote.exceptions import FlameError
from flame_remote.runner.service import MethodService

# Items that are asked for ahead of an actor that has other calls as well: those wait for no more.
_AHEAD_OF_OTHER_CALLS: Final = 4


class FarEnd(ABC):
    """What the near end of a stream asks for items, and tells when it wants no more."""

    engine: Engine
    name: str  # of the generator, for people
    most_running: int | None  # steps that may be under way, None for what the near end thinks

    @abstractmethod
    def call(self, verb: str, count: int) -> Any:
        """Call `step` or `run_out`; return the ref, or `count` refs. Does not block."""

    @abstractmethod
    def ended(self) -> None:
        """Note that the generator has ended by itself."""

    @abstractmethod
    def close(self) -> None:
        """End the generator."""

    @abstractmethod
    def abandon(self) -> None:
        """As `close`, from a finaliser: must not lock."""


class FunctionEnd(FarEnd):
    """The actor that an iteration of a generator function is; it ends with its last ref."""

    most_running = None

    def __init__(self, producer: ObjectRef[Any], name: str) -> None:
        self.engine = producer._engine
        self.name = name
        self._producer = producer

    def call(self, verb: str, count: int) -> Any:
        options = MethodOptions(name=self.name, num_returns=count)
        return MethodService(self._producer, self.name, verb, None, options).submit((), {})

    def ended(self) -> None:
        """Nothing to tell; as with the others."""

    close = abandon = ended


class MethodEnd(FarEnd):
    """An iteration of a generator method, on an actor that goes on when it has ended."""

    def __init__(
        self,
        instance: ObjectRef[Any],
        actor_name: str,
        method: str,
        options: MethodOptions,
        is_threaded: bool,
    ) -> None:
        """Stand for an iteration that is to begin. `options` are those of its calls."""
        self._is_threaded = is_threaded
        self.engine = instance._engine
        self.name = options.name or f"{actor_name}.{method}"
        self.most_running = 1 if is_threaded else _AHEAD_OF_OTHER_CALLS
        self._instance = instance
        self._actor_name = actor_name
        self._method = method
        self._options = replace(options, name=self.name, backpressure=None)
        self._number = self.engine.new_id()
        # What the next call must wait for: calls in threads might overtake it.
        self._earlier: ObjectRef[Any] | None = None
        self._is_open = False  # whether the closer still waits to hear of its end

    def begin(
        self, signature: CallSignature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Call the method. Raises SerializationError."""
        service = self._service(BEGIN, 1, signature)
        self._earlier = service.submit(args, {**kwargs, NUMBER: self._number})
        _closer.expect_one()
        self._is_open = True

    def call(self, verb: str, count: int) -> Any:
        earlier, self._earlier = self._earlier, None
        args = (self._number,) if earlier is None else (self._number, earlier)
        made: Any = self._service(verb, count).submit(args, {})
        if self._is_threaded:
            self._earlier = made[0] if isinstance(made, list) else made
        return made

    def ended(self) -> None:
        if self._is_open:
            self._is_open = False
            _closer.queue.put(None)

    def close(self) -> None:
        self.ended()
        with suppress(FlameError):  # there is nobody left to tell
            told = self._service(CLOSE, 1).submit((self._number,), {})
            told.add_done_callback(_look_at)

    def abandon(self) -> None:
        if self._is_open:
            self._is_open = False
            _closer.queue.put(self)

    def _service(
        self, verb: str, count: int, signature: CallSignature | None = None
    ) -> MethodService:
        options = replace(self._options, num_returns=count)
        name = call_name(verb, self._method)
        return MethodService(self._instance, self._actor_name, name, signature, options)


def _look_at(ref: ObjectRef[Any]) -> None:
    ref.exception()  # that the actor is dead, say: nobody wants to know


class _Closer:
    """A thread that closes iterations which were dropped: a finaliser may make no calls itself.

    It runs while there are any that may be dropped.
    """

    def __init__(self) -> None:
        # Any thread, finalisers too: its put() is made for that.
        self.queue: queue.SimpleQueue[MethodEnd | None] = queue.SimpleQueue()
        # Guarded by self._lock.
        self._lock = threading.Lock()
        self._expected = 0  # iterations whose end has not been heard of

    def expect_one(self) -> None:
        """Begin to listen for the end of an iteration. Not from a finaliser."""
        with self._lock:
            self._expected += 1
            is_first = self._expected == 1
        if is_first:
            threading.Thread(target=self._listen, name="flame-closer", daemon=True).start()

    def _listen(self) -> None:
        is_last = False
        while not is_last:
            dropped = self.queue.get()
            if dropped is not None:
                dropped.close()
                del dropped  # and with it the actor, perhaps
            with self._lock:
                self._expected -= 1
                is_last = not self._expected


_closer = _Closer()


def _forget_the_parents() -> None:
    """In a child of os.fork(): the thread is the parent's, and so are the iterations."""
    global _closer
    _closer = _Closer()


os.register_at_fork(after_in_child=_forget_the_parents)
