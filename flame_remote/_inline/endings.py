"""How calls of an inline engine end: what is kept, and who is told."""

from __future__ import annotations

from flame_remote._execute.unread import was_cancelled
from flame_remote._outcome import Kind, Outcome
from flame_remote._spec import TaskSpec
from flame_remote.exceptions import TaskCancelledError

from .callbacks import call_back
from .execution import Content, died, failed, parts_of
from .limits import Limits
from .objects import CallbackOfRef
from .records import Records
from .tables import Tables, bury


class Endings:
    """Takes in how calls ended. Safe to call from any thread; runs user code."""

    def __init__(self, tables: Tables, limits: Limits, records: Records) -> None:
        # Constant after construction.
        self._tables = tables
        self._limits = limits
        self._records = records

    def end(self, spec: TaskSpec, content: Content) -> None:
        """Note how a running call ended, and tell everybody who waits for it."""
        if (late := self._limits.lateness(spec)) is not None:
            content = failed(late)
        self._limits.ended(spec.id)
        if isinstance(content, Outcome) and content.kind is Kind.FAILED:
            self._records.save_failed(spec, content.data)
        tables = self._tables
        with tables.lock:
            actor = tables.actors.get(spec.actor)
            if actor is not None and actor.how_it_died:
                content = failed(died(spec.target.name, actor))
            elif spec.id in tables.cancelled:
                content = failed(TaskCancelledError(spec.target.name))
            callbacks = [] if tables.closed else self._fill(spec, content)
            made = tables.actors.get(spec.id)
            if made is not None and isinstance(content, Outcome):
                made.failure = content.data if content.kind is Kind.FAILED else b""
            tables.cancelled.discard(spec.id)
            self._leave_lineage(spec, content)
            gone = tables.calls.remove(spec)
            actors = tables.remove_actors(gone)
            tables.changed.notify_all()
        bury(gone, actors)
        if made is not None and made.failure:  # to be constructed
            tables.unname(spec.id)
        if actor is not None and actor.exits:
            tables.end_actor(spec.actor, actor.exits)
        for callback, ref in callbacks:
            call_back(callback, ref)

    def _fill(self, spec: TaskSpec, content: Content) -> list[CallbackOfRef]:
        """Fill what a call makes; return the callbacks of that. The caller holds the lock."""
        callbacks: list[CallbackOfRef] = []
        objects = self._tables.objects
        for place, (object_id, part) in enumerate(parts_of(spec, content)):
            stored = objects.get(object_id)
            if stored is not None:
                objects.fill(stored, part)
                stored.was_read |= place > 0  # one report of an error is enough
                callbacks += stored.callbacks
                stored.callbacks = []
        return callbacks

    def _leave_lineage(self, spec: TaskSpec, content: Content) -> None:
        """A call has ended; its failure may end a scope. The caller holds the lock."""
        lineage = self._tables.lineage
        if (
            isinstance(content, Outcome)
            and content.kind is Kind.FAILED
            and spec.parent in lineage.nodes
            and not was_cancelled(content.data)
            and lineage.failed(spec.parent, content.data)
            and (stored := self._tables.objects.get(spec.id)) is not None
        ):
            stored.was_read = True
        lineage.ended(spec.id)
