"""`fn.map` and its like: many items through few tasks, as an iterator of results.

Items travel in chunks. The workers say how long a chunk took, and the next ones are cut so that
each takes about as long as TARGET_SECONDS: there is no chunk size to choose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from flame_remote._deadline import Deadline
from flame_remote._own_frames import seen_from_here
from flame_remote._refs import ObjectRef
from flame_remote.engine import Engine
from flame_remote.exceptions import GetTimeoutError
from flame_remote.runner.service import Service

if TYPE_CHECKING:
    from flame_remote._progress import Bar

R_co = TypeVar("R_co", covariant=True)

TARGET_SECONDS: Final = 0.010
_MOST_ITEMS: Final = 1 << 16  # in a chunk
_GROWTH: Final = 8  # times the size of the chunk before
_AHEAD: Final = 32  # chunks that may wait, done, for one before them


class Sizes:
    """How many items go into the next chunk. No I/O, no clock."""

    def __init__(self, most: int) -> None:
        self._most = max(1, min(most, _MOST_ITEMS))
        self._size = 1

    def next(self) -> int:
        """Return the size of the next chunk."""
        return self._size

    def learn(self, items: int, seconds: float) -> None:
        """Take into account that a chunk of `items` took `seconds` in the worker."""
        fitting = int(TARGET_SECONDS * items / seconds) if seconds > 0 else self._most
        self._size = max(1, min(fitting, items * _GROWTH, self._most))


class _Part:
    """What one task does of the work: a chunk, or one call with a ref among its arguments."""

    __slots__ = ("is_chunk", "items", "ref")

    def __init__(self, ref: ObjectRef[Any], items: int, is_chunk: bool) -> None:
        self.ref = ref
        self.items = items
        self.is_chunk = is_chunk


class MapResults(Generic[R_co]):
    """The results of `fn.map`, each as soon as it is its turn. Use from one thread at a time.

    Items are taken from the iterables as room comes free, so they may be endless. Work begins
    before the first result is asked for. `close()`, and the end of the iteration by an error,
    cancel what is under way.
    """

    def __init__(
        self,
        chunks: Service,
        calls: Service,
        rows: Iterable[Any],
        *,
        star: bool,
        ordered: bool,
        window: int | None,
        return_exceptions: bool,
        timeout: float | None,
        bar: Bar | None = None,
    ) -> None:
        self._chunks = chunks  # takes many rows
        self._calls = calls  # takes the arguments of one row
        self._engine: Engine = chunks.engine
        self._rows: Iterator[Any] | None = iter(rows)
        self._star = star
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._deadline = Deadline(timeout)
        self._bar = bar
        cpus = self._engine.resources().get("CPU", 1)
        self._running_most = max(2, min(64, int(cpus) * 2 + 1))
        self._room = window  # items that may still be taken; None: no limit but _AHEAD
        self._sizes = Sizes(_MOST_ITEMS if window is None else window // self._running_most)
        self._parts: deque[_Part] = deque()  # not yet handed out, in order
        self._running: dict[int, _Part] = {}  # those of them that are not done, by object id
        self._taken = 0  # items, so far
        self._submit_more()
        self._results = self._iterate()

    def __iter__(self) -> Iterator[R_co]:
        return self._results

    def __next__(self) -> R_co:
        return next(self._results)

    def close(self) -> None:
        """Stop: take no more items, cancel what is under way. May be called twice."""
        self._results.close()
        self._cancel()

    def __del__(self) -> None:
        if getattr(self, "_running", None):
            self._cancel()

    # --- results ------------------------------------------------------------------------

    def _iterate(self) -> Generator[R_co, None, None]:
        try:
            with self._bar or nullcontext():
                yield from self._iterate_parts()
        finally:
            self._cancel()

    def _iterate_parts(self) -> Generator[R_co, None, None]:
        while self._parts:
            self._wait()
            self._submit_more()
            for part in self._finished():
                yield from self._values_of(part)
                if self._room is not None:
                    self._room += part.items
                self._submit_more()

    def _wait(self) -> None:
        """Block until a part can be handed out. Take note of all that are done."""
        while True:
            first = self._parts[0]
            if self._ordered and first.ref._id not in self._running:
                return
            refs = [part.ref for part in self._running.values()]
            done = self._engine.wait(refs, 1, self._deadline)
            if not done:
                raise self._timeout()
            for object_id in done:
                part = self._running.pop(object_id, None)
                if part is not None and self._bar is not None:
                    self._bar.advance(part.items)
            if not self._ordered:
                return
            self._submit_more()

    def _timeout(self) -> GetTimeoutError:
        items = sum(part.items for part in self._parts)
        describe = self._engine.describe
        waiting = tuple(describe(part.ref) for part in islice(self._running.values(), 10))
        return GetTimeoutError(items, self._taken, self._deadline.seconds or 0.0, waiting)

    def _finished(self) -> list[_Part]:
        """Take out the parts whose turn it is."""
        finished: list[_Part] = []
        if self._ordered:
            while self._parts and self._parts[0].ref._id not in self._running:
                finished.append(self._parts.popleft())
            return finished
        for part in list(self._parts):
            if part.ref._id not in self._running:
                finished.append(part)
                self._parts.remove(part)
        return finished

    def _values_of(self, part: _Part) -> Iterable[Any]:
        """Return a part's results; raise for one that failed as it is reached, if so asked."""
        try:
            (value,) = self._engine.get((part.ref,), self._deadline)
        except Exception as error:  # of a call by itself, or of the whole chunk: its process died
            if not self._return_exceptions:
                raise
            return [error] * part.items
        if not part.is_chunk:
            return [value]
        seconds, values, failures = value
        self._sizes.learn(part.items, seconds)
        return self._with_failures(values, failures) if failures else values

    def _with_failures(self, values: list[Any], failures: list[tuple[int, bytes]]) -> Iterator[Any]:
        from flame_remote._execute.failure import rebuild_error

        start = 0
        for place, data in failures:
            yield from values[start:place]
            error = rebuild_error(data)
            if not self._return_exceptions:
                raise seen_from_here(error)
            yield error
            start = place + 1
        yield from values[start:]

    # --- work ---------------------------------------------------------------------------

    def _submit_more(self) -> None:
        """Submit until enough is under way, or no items are left."""
        while (
            self._rows is not None
            and len(self._running) < self._running_most
            and len(self._parts) < self._running_most + _AHEAD
        ):
            size = self._sizes.next()
            if self._room is not None:
                size = min(size, self._room)
                if size < 1:
                    return
                self._room -= size
            rows = list(islice(self._rows, size))
            if len(rows) < size:
                self._rows = None
            if rows:
                self._submit(rows)

    def _submit(self, rows: list[Any]) -> None:
        if not self._has_refs(rows):
            self._add(self._chunks.submit((rows, self._star), {}), len(rows), True)
            return
        for row in rows:  # a ref is resolved only as an argument of its own
            self._add(self._calls.submit(row if self._star else (row,), {}), 1, False)

    def _has_refs(self, rows: list[Any]) -> bool:
        if self._star:
            return any(ObjectRef in set(map(type, row)) for row in rows)
        return ObjectRef in set(map(type, rows))

    def _add(self, ref: ObjectRef[Any], items: int, is_chunk: bool) -> None:
        part = _Part(ref, items, is_chunk)
        self._taken += items
        self._parts.append(part)
        self._running[ref._id] = part

    def _cancel(self) -> None:
        self._rows = None
        self._parts.clear()
        running, self._running = self._running, {}
        for part in running.values():
            self._engine.cancel(part.ref, False)
