"""The driver's table of objects: their values, who waits for them, who still refers to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from flame_remote._execute.unread import report_unread, was_cancelled
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind
from flame_remote._scheduling.lineage import Lineage
from flame_remote._spec import TargetKind, TaskSpec

from .dropping import Dropped

_FAILED: Final = int(Kind.FAILED)
_STORED: Final = int(Kind.STORED)
_SEVERAL: Final = int(Kind.SEVERAL)

# Where a value lies: (segment, offset, size, checksum or None), as in values.py.
Place = tuple[int, int, int, int | None]


class Watcher(Protocol):
    """Somebody who wants to know when an object's task has ended."""

    def note(self, object_id: ObjectId, stored: StoredObject) -> None:
        """Take notice. Called inside a turn: must not block and must not run user code."""


class StoredObject:
    """A value, an error, or a promise of one. Small: there may be a hundred thousand."""

    __slots__ = (
        "count",
        "data",
        "is_actor",
        "kind",
        "name",
        "pins",
        "refs",
        "spec",
        "was_read",
        "watchers",
    )

    def __init__(self, name: str, spec: TaskSpec | None = None) -> None:
        self.spec = spec  # of the task that makes it, until it has
        self.is_actor = spec is not None and spec.target.kind is TargetKind.ACTOR
        self.name = name  # of the task that makes it; empty for a value that was put
        self.kind: int = 0  # as Kind, plain for speed; 0 is PENDING
        self.data: Any = None
        self.refs: tuple[ObjectId, ...] = ()  # refs inside the value, counted by it
        # Refs in the driver, workers that refer to it, tasks that take it, values that contain it.
        self.count = 1
        self.pins = 0  # readers of the stored bytes, wherever they are
        self.was_read = False
        self.watchers: list[Watcher] | None = None


def held_by(spec: TaskSpec) -> list[ObjectId]:
    """Return the objects that a task holds until it ends: arguments, refs inside, its actor."""
    held = [object_id for _, object_id in spec.dependencies]
    held += spec.nested
    if spec.actor:
        held.append(spec.actor)
    held += [ref._id for ref in spec.target.refs]
    return held


def holds_something(spec: TaskSpec) -> bool:
    """Say whether `held_by` is not empty; most tasks hold nothing."""
    return bool(spec.dependencies or spec.nested or spec.actor or spec.target.refs)


def stored_in(kind: int, data: Any) -> Iterable[Place]:
    """Return where the values of a result lie that are stored: mostly none, or one."""
    if kind == _STORED:
        return (data,)
    if kind == _SEVERAL:
        return [place for part, place, _ in data if part == _STORED]
    return ()


class ObjectTable:
    """Every object of the session. Changed inside a turn; `by_id` may be read at any time."""

    def __init__(self) -> None:
        self.by_id: dict[ObjectId, StoredObject] = {}
        # Locations whose bytes nobody needs any more, for whoever owns the memory.
        self.freed: deque[tuple[int, int, int, int | None]] = deque()
        # Freed by the user, and still read.
        self.dropped: dict[ObjectId, Dropped] = {}
        # Actors that nobody refers to any more.
        self.gone: deque[ObjectId] = deque()
        # Errors of objects that are gone and that nobody looked at, to be reported outside a turn.
        self.unread: deque[bytes] = deque()
        # Which task started which; and who wants to know of calls that fail, if anybody.
        self.lineage = Lineage()
        self.on_failure: Callable[[TaskSpec, bytes], None] | None = None

    def hold(self, object_ids: Iterable[ObjectId]) -> None:
        """Count one more holder for each."""
        by_id = self.by_id
        for object_id in object_ids:
            by_id[object_id].count += 1

    def release(self, object_ids: Iterable[ObjectId]) -> None:
        """Count one holder less for each; free what has none left."""
        unheld = list(object_ids)
        by_id = self.by_id
        while unheld:  # a loop: values may contain refs to values that contain refs...
            object_id = unheld.pop()
            stored = by_id.get(object_id)
            if stored is None:
                continue
            stored.count -= 1
            if stored.count <= 0:
                self._free_if_unused(object_id, stored, unheld)

    def apply(self, events: deque[int], number: int) -> None:
        """Take in `number` events of Engine.ref_events."""
        by_id, free = self.by_id, self._free_if_unused
        unheld: list[ObjectId] = []
        for _ in range(number):
            event = events.popleft()
            if event < 0:
                stored = by_id.get(-event)
                if stored is not None:
                    stored.count += 1
                continue
            stored = by_id.get(event)
            if stored is not None:
                stored.count -= 1
                if stored.count <= 0:
                    free(event, stored, unheld)
        if unheld:
            self.release(unheld)

    def settle(self, object_id: ObjectId, kind: int, data: Any, refs: tuple[ObjectId, ...]) -> None:
        """Note the value or error of an object; tell everybody who waits for it."""
        stored = self.by_id[object_id]
        spec, stored.spec = stored.spec, None
        if spec is not None and spec.returns is not None:
            self._settle_parts(spec.returns, kind, data)
            stored.was_read = True  # by way of its parts
            kind, data = (kind, data) if kind == _FAILED else (int(Kind.ATOM), None)
        stored.kind = kind
        stored.data = data
        if spec is not None and (self.lineage.nodes or kind == _FAILED):
            self._task_ended(stored, spec)
        if refs:
            stored.refs = refs
            self.hold(refs)
        if stored.watchers is not None:
            watchers, stored.watchers = stored.watchers, None
            for watcher in watchers:
                watcher.note(object_id, stored)
        unheld: list[ObjectId] = []
        if stored.count <= 0:
            self._free_if_unused(object_id, stored, unheld)
        if spec is not None and holds_something(spec):
            unheld += held_by(spec)
        if unheld:
            self.release(unheld)

    def _settle_parts(self, parts: Sequence[ObjectId], kind: int, data: Any) -> None:
        """Note what became of each object that a task makes."""
        if kind != _SEVERAL:  # an error, or the None of a call that has ended its actor
            for part in parts:
                self.by_id[part].was_read = part != parts[0]  # one report is enough
                self.settle(part, kind, data, ())
            return
        for part, outcome in zip(parts, data, strict=True):
            self.settle(part, *outcome)

    def _task_ended(self, stored: StoredObject, spec: TaskSpec) -> None:
        if stored.kind == _FAILED:
            if spec.parent in self.lineage.nodes and not was_cancelled(stored.data):
                stored.was_read |= self.lineage.failed(spec.parent, stored.data)
            if self.on_failure is not None:
                self.on_failure(spec, stored.data)
        self.lineage.ended(spec.id)

    def unpin(self, object_id: ObjectId) -> None:
        """Count one reader less."""
        stored = self.by_id.get(object_id)
        if stored is not None:
            stored.pins -= 1
            if not stored.pins and object_id in self.dropped:
                dropped = self.dropped.pop(object_id)
                self.freed.append(dropped.place)
                self.release(dropped.refs)
            if stored.count <= 0:
                unheld: list[ObjectId] = []
                self._free_if_unused(object_id, stored, unheld)
                self.release(unheld)

    def note_unread(self) -> None:
        """Have all errors reported that nobody looked at: the session ends."""
        for stored in list(self.by_id.values()):  # others add to it without a turn
            if stored.kind == _FAILED and not stored.was_read:
                self.unread.append(stored.data)

    def _free_if_unused(
        self, object_id: ObjectId, stored: StoredObject, unheld: list[ObjectId]
    ) -> None:
        if stored.kind == Kind.PENDING:
            if stored.is_actor:
                self.gone.append(object_id)
            return  # its task runs on
        if stored.pins > 0:
            return
        del self.by_id[object_id]
        if stored.is_actor:
            self.gone.append(object_id)
        unheld += stored.refs
        if stored.kind == Kind.STORED:
            self.freed.append(stored.data)
        elif stored.kind == Kind.FAILED and not stored.was_read:
            self.unread.append(stored.data)


def report_all_unread(unread: deque[bytes]) -> None:
    """Log the errors of objects that are gone and that nobody looked at. Outside a turn."""
    while unread:
        report_unread(unread.popleft())
