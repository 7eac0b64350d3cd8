"""What the driver notes beside its work when it was asked to: when calls ran, who made refs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flame_remote import _ids
from flame_remote._creation_sites import CreationSites, are_wanted, line_of_the_user
from flame_remote._ids import ObjectId, TaskId
from flame_remote._refs import ObjectRef
from flame_remote._timeline import Span, Timeline
from flame_remote.engine import Engine

from .messages import Record
from .workers import WorkerHandle

if TYPE_CHECKING:
    from .core import Core


class Records:
    """The timeline and the creation sites of a session, each None unless it was asked for.

    Inside a turn.
    """

    def __init__(self, core: Core, *, timeline: bool) -> None:
        self._core = core
        self.timeline = Timeline() if timeline else None
        objects = core.objects
        self.sites = (
            CreationSites(lambda: objects.by_id, lambda: len(objects.by_id))
            if are_wanted()
            else None
        )

    def watch(self, engine: Engine) -> None:
        """Have the lines noted that call `submit` and `put`; who does not want it pays nothing."""
        sites = self.sites
        if sites is None:
            return
        submit, put = engine.submit, engine.put

        def noted(ref: ObjectRef[Any], site: str) -> ObjectRef[Any]:
            sites.note(ref._id, site)
            return ref

        engine.submit = lambda spec: noted(submit(spec), line_of_the_user())  # type: ignore[method-assign]
        engine.put = lambda packed: noted(put(packed), line_of_the_user())  # type: ignore[method-assign]

    def ask(self, worker: WorkerHandle) -> None:
        """Ask a new worker for what is wanted."""
        if self.timeline is not None or self.sites is not None:
            wanted = Record(self.timeline is not None, self.sites is not None)
            self._core.crew.send(worker, wanted)

    def take_spans(
        self, worker: WorkerHandle, spans: Iterable[tuple[TaskId, float, float, int]]
    ) -> None:
        """Note when tasks ran; they end with a message that comes after this one."""
        if self.timeline is None:
            return
        for task_id, began, ended, thread in spans:
            record = self._core.scheduler.tasks.get(task_id)
            if record is not None:
                about = {"task": _ids.show(task_id), "attempt": record.starts}
                if record.spec.parent:
                    about["parent"] = _ids.show(record.spec.parent)
                name = record.spec.target.name
                self.timeline.add(Span(name, worker.pid, thread, began, ended, about))

    def take_sites(self, sites: Iterable[tuple[ObjectId, str]]) -> None:
        """Note which lines of tasks have made refs."""
        if self.sites is not None:
            for object_id, site in sites:
                self.sites.note(object_id, site)
