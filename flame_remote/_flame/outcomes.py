"""The ends of calls: what they have made is filled in, and whoever waited for it goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from flame_remote._execute.failure import add_needed_by
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind

from .batch import Result
from .calls import Call, CallState, Step
from .lanes import Lane
from .stored import Stored
from .table import Table


class Outcomes:
    """Ends calls and fills objects. Belongs to the engine's thread; does no I/O."""

    def __init__(
        self, table: Table, queue: Callable[[Call], object], touch: Callable[[Lane], object]
    ) -> None:
        """`queue` takes calls whose arguments are there, `touch` lanes where something can go."""
        self._table = table
        self._queue = queue
        self._touch = touch
        self._endings: deque[tuple[Call, Result]] = deque()
        self.unfinished: dict[Call, None] = {}
        self.publications: list[Stored] = []  # to be put where they were promised

    def begin(self, call: Call) -> None:
        """Take in a call that will end one day; until then it holds what it refers to."""
        self.unfinished[call] = None
        for object_id in call.objects:
            self._table.by_id[object_id].call = call
        self._table.hold(call.held())

    def has_unsent(self) -> bool:
        """Say whether a call could still be sent; those of actors that wait do not count."""
        return any(
            call.state in (CallState.QUEUED, CallState.WAITING)
            for call in self.unfinished
            if not (call.lane.ordered and call.state is CallState.WAITING)
        )

    def end(self, call: Call, result: Result) -> None:
        """End a call, and all that this ends."""
        self.end_later(call, result)
        self.work_off()

    def end_later(self, call: Call, result: Result) -> None:
        """End a call with the next work_off()."""
        self._endings.append((call, result))

    def fail(self, call: Call, failure: bytes) -> None:
        """End a call with a failure, and all that this ends."""
        self.fail_later(call, failure)
        self.work_off()

    def fail_later(self, call: Call, failure: bytes) -> None:
        """End a call with a failure with the next work_off()."""
        self._endings.append((call, Result(call.spec.id, int(Kind.FAILED), failure)))

    def work_off(self) -> None:
        """End the calls that are to end, and those that this lets end or begin. In a loop and not
        by recursion: chains of calls may be long.
        """
        while self._endings:
            call, result = self._endings.popleft()
            if call.state is CallState.ENDED:
                continue
            if call.state is CallState.SENT:
                del call.lane.sent[call.spec.id]
            elif call.state is CallState.QUEUED or (
                call.state is CallState.WAITING and call.lane.ordered
            ):
                call.lane.remove(call)
                self._touch(call.lane)  # those behind it may go now
            call.step(Step.ENDED)
            del self.unfinished[call]
            self._fill_all(call, result)
            if call.constructs and result.kind == Kind.FAILED:
                call.lane.failure = result.data
                for behind in list(call.lane.queue):
                    self.fail_later(behind, add_needed_by(result.data, behind.name))
            self._table.release(call.held())

    def _fill_all(self, call: Call, result: Result) -> None:
        """Fill what a call has made: its parts, if it was to be taken apart, and its own object."""
        parts = {part.id: part for part in result.parts}
        for object_id in call.spec.returns or ():
            part = parts.get(object_id, result)
            self.fill(self._table.by_id[object_id], part.kind, part.data, part.inside)
        own = self._table.by_id[call.spec.id]
        # Of a whole nobody has a ref, and an actor's end is told by its calls.
        own.was_read = call.spec.returns is not None or bool(call.lane.how_it_died)
        self.fill(own, result.kind, result.data, result.inside)

    def fill(self, stored: Stored, kind: int, data: Any, inside: tuple[ObjectId, ...]) -> None:
        """Give an object its value or error, and tell whoever waits; work_off() must follow."""
        self._table.fill(stored, kind, data, inside)
        if stored.mailbox is not None and stored.call is not None:
            self.publications.append(stored)
        stored.call = stored.place = None
        self.release_dependents(stored)
        watchers, stored.watchers = stored.watchers, []
        for watcher in watchers:
            watcher(stored)

    def release_dependents(self, stored: Stored) -> None:
        """Let calls go on that have waited for an object; work_off() must follow."""
        dependents, stored.dependents = stored.dependents, []
        for call in dependents:
            if call.state is not CallState.WAITING:
                continue
            call.missing.discard(stored.id)
            if stored.kind == Kind.FAILED and stored.lane is None:
                stored.was_read = True
                self.fail_later(call, add_needed_by(stored.data, call.name))
            elif not call.missing and (failure := self._freed_argument(call)):
                self.fail_later(call, failure)
            elif not call.missing:
                self._queue(call)

    def _freed_argument(self, call: Call) -> bytes:
        """Return the failure of an argument that was freed while others were awaited."""
        for _, object_id in call.spec.dependencies:
            stored = self._table.by_id[object_id]
            if stored.kind == Kind.FAILED:
                return add_needed_by(stored.data, call.name)
        return b""
