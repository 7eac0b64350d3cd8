"""New calls, from the inbox into the scheduler."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from flame_remote._execute.failure import add_needed_by
from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._scheduling import commands, events
from flame_remote._scheduling.records import TaskRecord
from flame_remote._spec import TargetKind, TaskSpec

from .objects import ObjectTable, held_by, holds_something
from .revival import Revivals

_FAILED: Final = int(Kind.FAILED)


class Intake:
    """Holds what calls take, and fails at once those that take what has failed. Inside a turn."""

    def __init__(
        self,
        objects: ObjectTable,
        revivals: Revivals,
        tasks: Mapping[TaskId, TaskRecord],
        feed: Callable[[events.Event], None],
    ) -> None:
        """`tasks` are those that the scheduler knows, `feed` tells it of others."""
        # Constant after construction.
        self._objects = objects
        self._revivals = revivals
        self._lineage = objects.lineage
        self._tasks = tasks
        self._feed = feed
        # Appended to by any thread, taken inside a turn.
        self.inbox: deque[TaskSpec] = deque()

    def take_calls(self) -> None:
        """Take in all that is in the inbox."""
        records: list[TaskRecord] = []
        inbox, objects = self.inbox, self._objects
        failed: list[tuple[TaskSpec, ObjectId]] = []
        while inbox:
            spec = inbox.popleft()
            if holds_something(spec):
                objects.hold(held_by(spec))
                culprit = self._failed_dependency(spec)
                if culprit:
                    failed.append((spec, culprit))
                    continue
                if spec.target.restarts.max_restarts:
                    self._revivals.called(spec)
            if spec.parent:
                self._note_parent(spec)
            records.append(TaskRecord(spec))
        if records:
            self._feed(events.TasksSubmitted(records))
        for spec, culprit in failed:
            data = add_needed_by(objects.by_id[culprit].data, spec.target.name)
            objects.settle(spec.id, _FAILED, data, ())
            if spec.target.kind is TargetKind.ACTOR:  # the scheduler has never heard of it
                self._revivals.ended(commands.EndActor(spec.id))

    def _note_parent(self, spec: TaskSpec) -> None:
        if spec.parent in self._tasks or spec.parent in self._lineage.nodes:
            self._lineage.add(spec.id, spec.parent)

    def _failed_dependency(self, spec: TaskSpec) -> ObjectId:
        by_id = self._objects.by_id
        for _, object_id in spec.dependencies:
            stored = by_id[object_id]
            if stored.kind == _FAILED:
                stored.was_read = True
                return object_id
        return 0
