"""What an inline engine notes beside its work when it was asked to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from flame_remote import _ids
from flame_remote._creation_sites import CreationSites, are_wanted
from flame_remote._execute.bundle import BundleWriter
from flame_remote._ids import ActorId, ObjectId
from flame_remote._spec import TaskSpec
from flame_remote._timeline import Span, Timeline

from .actors import InlineActor
from .objects import ObjectTable


class Records:
    """When calls ran, who made refs, and bundles of calls that failed. Any thread."""

    def __init__(
        self, objects: ObjectTable, actors: Mapping[ActorId, InlineActor], *, timeline: bool
    ) -> None:
        self._objects = objects
        self._actors = actors
        # Constant after construction; None where it was not asked for.
        self.timeline = Timeline() if timeline else None
        self.sites = (
            CreationSites(lambda: dict(objects), lambda: len(dict(objects)))
            if are_wanted()
            else None
        )
        # Set at any time by any thread; a call reads it once.
        self._failed_calls: BundleWriter | None = None

    def note_span(self, spec: TaskSpec, began: float) -> None:
        """A call that began at this time.perf_counter() ends now, in this thread."""
        if self.timeline is not None:
            about = {"task": _ids.show(spec.id), "attempt": 1}
            if spec.parent:
                about["parent"] = _ids.show(spec.parent)
            pid, thread = os.getpid(), threading.get_native_id()
            self.timeline.add(
                Span(spec.target.name, pid, thread, began, time.perf_counter(), about)
            )

    def save_failed_calls(self, folder: str | None) -> None:
        """Write calls that fail from now on into a folder, or no longer."""
        self._failed_calls = None if folder is None else BundleWriter(folder)

    def save_failed(self, spec: TaskSpec, data: bytes) -> None:
        """Save a call that has failed, while what it took is still there. Runs user code."""
        writer = self._failed_calls
        if writer is None or not writer.is_worth_saving(data):
            return

        def load(object_ids: Iterable[ObjectId]) -> list[Any]:
            found = [self._objects.get(object_id) for object_id in object_ids]
            return [stored.load() for stored in found if stored is not None]

        actor = self._actors.get(spec.actor)
        writer.save(spec, actor.creation if actor is not None else None, data, load)
