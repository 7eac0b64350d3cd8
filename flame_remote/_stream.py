"""ObjectRefGenerator: the items of a generator that runs in a worker, as they are made."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar

from flame_remote._deadline import NEVER
from flame_remote._execute.producing import Producing
from flame_remote._far_ends import FarEnd, FunctionEnd, MethodEnd
from flame_remote._options import ActorOptions, MethodOptions, TaskOptions
from flame_remote._refs import ObjectRef
from flame_remote._registry import service_of
from flame_remote._session import ensure_engine
from flame_remote._signature import CallSignature
from flame_remote.exceptions import EngineClosedError, InvalidOptionError
from flame_remote.runner.source import Source, by_name

T = TypeVar("T")

# Items that are asked for before they are needed: as many as hide the way there and back.
_AHEAD: Final = 32
# What a generator's iteration cannot have: it takes as long as somebody wants its items.
_NOT_FOR_STREAMS: Final = (
    "timeout",
    "deadline",
    "priority",
    "max_calls",
    "retries",
    "retry_exceptions",
    "cache",
)


class _Step(NamedTuple):
    """One item that was asked for: whether it is one, and itself."""

    there: ObjectRef[bool]
    item: ObjectRef[Any]


class ObjectRefGenerator(Generic[T]):
    """The refs of a generator's items, in order, each as soon as its item is made.

    Iterate with `for` or `async for`. An exception of the generator is raised by the last ref. The
    generator runs ahead of who iterates, by `backpressure` items if that was given; it ends when
    this object is closed or gone. Safe to use from any thread; several may share one, and each item
    comes to one of them. Stays in the process that made it: pass on refs.
    """

    def __init__(self, far: FarEnd, ahead: int | None) -> None:
        """Take over the far end of an iteration."""
        self._stream = _Stream(far, ahead)

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.abandon()

    # --- refs ---------------------------------------------------------------------------

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        return self

    def __next__(self) -> ObjectRef[T]:
        """Wait until an item is there, or the generator has ended; return the item's ref."""
        while (step := self._stream.first()) is not None:
            step.there._engine.wait([step.there], 1, NEVER)
            if (item := self._stream.take(step)) is not None:
                return item
        raise StopIteration

    def __aiter__(self) -> AsyncIterator[ObjectRef[T]]:
        return self

    async def __anext__(self) -> ObjectRef[T]:
        """As `__next__`, without blocking the running event loop."""
        import asyncio

        while (step := self._stream.first()) is not None:
            loop = asyncio.get_running_loop()
            arrived = asyncio.Event()
            step.there.add_done_callback(partial(_wake, loop, arrived))
            await arrived.wait()
            if (item := self._stream.take(step)) is not None:
                return item
        raise StopAsyncIteration

    # --- values -------------------------------------------------------------------------

    def values(self) -> Values[T]:
        """Return the items themselves in place of their refs, for `for` or `async for`."""
        return Values(self)

    # --- the generator ------------------------------------------------------------------

    def completed(self) -> ObjectRef[None]:
        """Have the generator run to its end; return a ref that is there when it has.

        Whatever `backpressure` says. Its error is that of the generator.
        """
        return self._stream.run_out()

    def next_ready(self) -> bool:
        """Say whether `next()` would return, or end, at once. Does not block."""
        step = self._stream.first()
        return step is None or step.there.done()

    def is_finished(self) -> bool:
        """Say whether all items have been taken. Does not block."""
        return self._stream.first() is None

    def close(self) -> None:
        """End the generator; items that were not taken are gone. May be called twice."""
        self._stream.close()

    def __repr__(self) -> str:
        return f"<ObjectRefGenerator of {self._stream.name}()>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be passed on: it stays where it was made; pass the refs that it gives"
        )

    def _flame_next_ref(self) -> ObjectRef[Any] | None:
        """Return the ref to wait for in place of this one; None if there is nothing to wait for."""
        step = self._stream.first()
        return None if step is None else step.there


class Values(Generic[T]):
    """The items of a generator that runs in a worker; iterate with `for` or `async for`."""

    def __init__(self, refs: ObjectRefGenerator[T]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return next(self._refs).get()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return await (await self._refs.__anext__())


class _Stream:
    """What has been asked for and not been taken. Any thread."""

    def __init__(self, far: FarEnd, ahead: int | None) -> None:
        # Constant after construction.
        self.name = far.name
        self._engine = far.engine
        # Calls run in the thread that makes them: nothing is made before it is wanted.
        self._is_lazy = not far.engine.runs_ahead
        self._ahead = ahead
        # Set by a finaliser, which must not lock.
        self._is_abandoned = False
        self._lock = threading.RLock()  # a call may be over before it returns
        # Guarded by self._lock.
        self._far: FarEnd | None = far  # None once there is nothing to ask for
        self._failure: ObjectRef[Any] | None = None  # with which the generator has ended
        self._is_asking = False
        self._steps: deque[_Step] = deque()  # that nobody has taken, in order
        self._running: dict[int, ObjectRef[Any]] = {}  # what the far end has not answered, by id
        if not self._is_lazy:
            with self._lock:
                self._ask()

    def first(self) -> _Step | None:
        """Return what comes next; None if there is nothing."""
        with self._lock:
            if not self._steps:
                self._ask(1)
            return self._steps[0] if self._steps else None

    def take(self, step: _Step) -> ObjectRef[Any] | None:
        """Take what has come, unless another has; return its item if it is one."""
        with self._lock:
            if not self._steps or self._steps[0] is not step:
                return None
            self._steps.popleft()
            self._running.pop(step.there._id, None)
            try:
                is_item = step.there.get()
            except Exception:
                is_item = True  # the error is what comes last
                self._failure = step.there
                self._end()
            if not is_item:
                self._end(by_itself=True)
                self._steps.clear()  # asked for in vain
                return None
            if not self._is_lazy:
                self._ask()
            return step.item

    def run_out(self) -> ObjectRef[Any]:
        """Ask for all there is, to be kept at the far end."""
        with self._lock:
            if self._failure is not None:
                return self._failure
            if self._far is None:
                from flame_remote._wire.packing import pack

                return self._engine.put(pack(None, lambda: "nothing"))
            ended: ObjectRef[Any] = self._far.call("run_out", 1)
            return ended

    def close(self) -> None:
        """End the far end."""
        with self._lock:
            self._end()
            self._steps.clear()
            running, self._running = self._running, {}
        for ref in reversed(running.values()):
            _cancel_step(ref)

    def abandon(self) -> None:
        """As `close`, as far as a finaliser can: the item that is being made is the last."""
        self._is_abandoned = True
        far, self._far = self._far, None
        if far is not None:
            far.abandon()
        del far
        self._steps.clear()
        self._engine.handle_died()

    def _ask(self, at_least: int = 0) -> None:
        """Ask for as many items as may be made ahead. The caller holds self._lock."""
        if self._is_asking:
            return  # in a callback of the call that is being made: that one goes on
        self._is_asking = True
        try:
            while (far := self._far) is not None and (
                len(self._steps) < at_least or self._may_ask(far.most_running)
            ):
                there, item = far.call("step", 2)
                self._steps.append(_Step(there, item))
                self._note_when_done(there)
        finally:
            self._is_asking = False

    def _may_ask(self, most_running: int | None) -> bool:
        if self._is_lazy or (most_running is not None and len(self._running) >= most_running):
            return False
        if self._ahead is not None:
            return len(self._steps) < self._ahead
        return len(self._running) < _AHEAD

    def _note_when_done(self, ref: ObjectRef[Any]) -> None:
        self._running[ref._id] = ref
        if self._is_lazy:
            return
        # Not a method of this: who drops the generator must not wait for its steps.
        ref.add_done_callback(partial(_step_ended, weakref.ref(self), self._running))

    def step_ended(self, ref: ObjectRef[Any]) -> None:
        """The far end has answered: ask for more, or let it go."""
        with self._lock:
            self._running.pop(ref._id, None)
            try:
                is_over = ref.get() is False
            except Exception:
                is_over = True
                self._failure = ref
            if is_over:
                self._end(by_itself=self._failure is None)
            elif not self._is_lazy:
                self._ask()

    def _end(self, *, by_itself: bool = False) -> None:
        """Ask for nothing any more. The caller holds self._lock."""
        far, self._far = self._far, None
        if far is not None:
            far.ended() if by_itself else far.close()
            del far
            self._engine.handle_died()


def _step_ended(
    stream: weakref.ref[_Stream], running: dict[int, ObjectRef[Any]], ref: ObjectRef[Any]
) -> None:
    alive = stream()
    if alive is not None and not alive._is_abandoned:
        alive.step_ended(ref)
        return
    running.pop(ref._id, None)
    ref.exception()  # nobody else looks at it
    with suppress(KeyError):  # each once: one more would strike the generator as it cleans up
        while True:
            _cancel_step(running.popitem()[1])


def _cancel_step(ref: ObjectRef[Any]) -> None:
    """Cancel the making of an item, but not what the generator calls as it ends."""
    with suppress(EngineClosedError):  # then it is ended with all else
        ref._engine.cancel(ref, False, recursive=False)


def _wake(loop: Any, arrived: Any, ref: object) -> None:
    try:
        loop.call_soon_threadsafe(arrived.set)
    except RuntimeError:
        return  # the loop is closed: nobody waits any more


def start_stream(
    source: Source, options: TaskOptions, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> ObjectRefGenerator[Any]:
    """Begin an iteration of a generator function. `source` is that of `stream_source`.

    Raises SerializationError, UnschedulableError.
    """
    actor = ActorOptions(
        num_cpus=options.num_cpus,
        num_gpus=options.num_gpus,
        resources=options.resources,
        name=options.name,
        memory=options.memory,
        runtime_env=options.runtime_env,
    )
    service = service_of(ensure_engine(), source, actor)
    far = FunctionEnd(service.submit(args, kwargs), options.name or source.name)
    return ObjectRefGenerator(far, options.backpressure)


def start_method_stream(
    far: MethodEnd,
    signature: CallSignature | None,
    options: MethodOptions,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> ObjectRefGenerator[Any]:
    """Begin an iteration of a generator method. Raises SerializationError."""
    far.begin(signature, args, kwargs)
    return ObjectRefGenerator(far, options.backpressure)


def stream_source(source: Source) -> Source:
    """Return what is exported of a generator function whose items come one by one."""
    producing = Producing.of(source.value, source.name, by_name(source.value))
    return Source(producing, source.name, source.signature)


def check_stream_options(name: str, options: TaskOptions | MethodOptions) -> None:
    """Raise InvalidOptionError for what a generator's iteration cannot have."""
    ordinary = type(options)()
    for option in _NOT_FOR_STREAMS:
        if getattr(options, option, None) != getattr(ordinary, option, None):
            raise InvalidOptionError(
                f"the generator {name} cannot have {option}: its items are made as they "
                "are wanted; use it inside a function that returns a list"
            )
