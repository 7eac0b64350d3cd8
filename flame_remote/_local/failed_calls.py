"""Calls that fail, on their way to a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flame_remote._deadline import NEVER
from flame_remote._execute.bundle import BundleWriter
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef
from flame_remote._spec import TaskSpec

if TYPE_CHECKING:
    from .core import Core
    from .engine import LocalEngine


class FailedCalls:
    """Keeps what a failed call took until it is written."""

    def __init__(self, engine: LocalEngine, core: Core, folder: str) -> None:
        self._engine = engine
        self._core = core
        self._writer = BundleWriter(folder)

    def __call__(self, spec: TaskSpec, data: bytes) -> None:
        """A call has failed; what it took is still there. Inside a turn."""
        if not self._writer.is_worth_saving(data):
            return
        actor = self._core.scheduler.actors.table.get(spec.actor)
        creation = actor.creation.spec if actor is not None else None
        if creation is not None and not self._is_there(creation):
            creation = None
        kept = self._hold(spec) + ([] if creation is None else self._hold(creation))
        self._core.callbacks.append(partial(self._save, spec, creation, data, kept))

    def _is_there(self, spec: TaskSpec) -> bool:
        by_id = self._core.objects.by_id
        found = [by_id.get(object_id) for _, object_id in spec.dependencies]
        return all(stored is not None and stored.kind not in (0, Kind.FAILED) for stored in found)

    def _hold(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        object_ids = [object_id for _, object_id in spec.dependencies]
        self._core.objects.hold(object_ids)
        return [ObjectRef(object_id, self._engine) for object_id in object_ids]

    def _save(
        self,
        spec: TaskSpec,
        creation: TaskSpec | None,
        data: bytes,
        kept: Sequence[ObjectRef[Any]],
    ) -> None:
        """Write the file. Outside a turn."""
        refs = {ref._id: ref for ref in kept}

        def load(object_ids: Iterable[ObjectId]) -> list[Any]:
            return self._engine.get([refs[object_id] for object_id in object_ids], NEVER)

        self._writer.save(spec, creation, data, load)
