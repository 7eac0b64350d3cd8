"""What a call returned or raised, as it travels to the driver."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from flame_remote._execute.actor_exit import ActorExit
from flame_remote._execute.attempts import Again
from flame_remote._execute.failure import encode_error, encode_failure
from flame_remote._execute.result import pack_result
from flame_remote._execute.several import Several
from flame_remote._ids import TaskId
from flame_remote._outcome import Kind, Outcome
from flame_remote.exceptions import ActorDiedError, FlameError, TaskCancelledError

from .actor_instance import ActorInstance
from .arena import Extent
from .loaded_code import LoadedCode, Unloadable
from .messages import ResultEntry, Value
from .shelter import Struck
from .values import Storage


class ResultPacker:
    """Makes result entries; large values go to shared memory. Safe to call from any thread."""

    def __init__(
        self,
        code: LoadedCode,
        actor: ActorInstance,
        storage: Storage,
        exit_actor: Callable[[str], None],
    ) -> None:
        """`exit_actor` is told how, for a call by which its actor has decided to end."""
        # Constant after construction.
        self._code = code
        self._actor = actor
        self._storage = storage
        self._exit_actor = exit_actor

    def pack(
        self, task_id: TaskId, target_id: int | str, succeeded: bool, value: Any
    ) -> tuple[ResultEntry, Any]:
        """Return the entry of what a call returned or raised, and what it must keep alive.

        Never raises: what cannot be packed has failed.
        """
        name = self._code.name_of(target_id)
        if succeeded:
            try:
                if type(value) is Again:
                    return (task_id, int(Kind.AGAIN), (value.delay, value.failure), ()), None
                if isinstance(value, Several):
                    return self._pack_several(task_id, target_id, value)
                packed = pack_result(value, name, self._code.functions.get(target_id))
                if isinstance(packed, Outcome):
                    return (task_id, int(packed.kind), packed.data, ()), None
                kind, data = self._storage.store(packed)
                refs = tuple(ref._id for ref in packed.refs)
                return (task_id, int(kind), data, refs), packed.refs
            except FlameError as error:
                return _failed(task_id, encode_error(error)), None
            except BaseException as error:  # of the value's own __reduce__
                value = error
        if isinstance(value, Unloadable):
            return _failed(task_id, encode_error(value.error)), None
        if how := self._actor.how_it_exits(value):
            self._exit_actor(how)
            if isinstance(value, ActorExit):
                return (task_id, int(Kind.ATOM), None, ()), None
            return _failed(task_id, encode_error(ActorDiedError(self._actor.name, how))), None
        if isinstance(value, Struck):
            return _failed(task_id, encode_error(TaskCancelledError(name))), None
        return _failed(task_id, encode_failure(value, name, task_id, os.getpid())), None

    def _pack_several(
        self, task_id: TaskId, target_id: int | str, several: Several
    ) -> tuple[ResultEntry, Any]:
        """As `pack`, of values that become an object each; raises what packing raises."""
        if several.error is not None:
            return _failed(task_id, encode_error(several.error)), None
        name, function = self._code.name_of(target_id), self._code.functions.get(target_id)
        packed = [pack_result(value, name, function) for value in several.values]
        outcomes: list[Value] = []
        taken: list[Extent] = []  # all of it, until the last one is stored
        keep: list[Any] = []
        try:
            for one in packed:
                if isinstance(one, Outcome):
                    outcomes.append((int(one.kind), one.data, ()))
                    continue
                new: list[Extent] = []
                kind, data = self._storage.store(one, new)
                taken += new
                outcomes.append((int(kind), data, tuple(ref._id for ref in one.refs)))
                keep.append(one.refs)
        except BaseException:
            self._storage.give_back(taken)
            raise
        return (task_id, int(Kind.SEVERAL), tuple(outcomes), ()), keep


def _failed(task_id: TaskId, data: bytes) -> ResultEntry:
    return task_id, int(Kind.FAILED), data, ()
