"""One call from its description to what is kept of it, but for the calling itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flame_remote._execute.actor_exit import ActorExit, how_it_exits
from flame_remote._execute.attempts import Attempts
from flame_remote._execute.failure import add_needed_by, encode_error, encode_failure
from flame_remote._execute.result import cannot_rebuild, pack_result
from flame_remote._execute.several import Several, TakenApart
from flame_remote._execute.stack import is_stack_nearly_full
from flame_remote._ids import ActorId, ObjectId
from flame_remote._outcome import Kind, Outcome
from flame_remote._spec import TargetKind, TaskSpec
from flame_remote._wire.arguments import unpack_arguments
from flame_remote._wire.packing import Packed, unpack
from flame_remote.exceptions import ActorDiedError, FlameError, SerializationError

from .actors import InlineActor
from .limits import Limits
from .objects import ObjectTable

# What is kept of how a call ended; a list if its value was taken apart.
Content = Packed | Outcome | list[Packed | Outcome]


class CallExecutor:
    """Makes calls ready and takes in how they ended. Reads the tables of the engine.

    Runs user code, so it is never called under the engine's lock. Safe to call from any thread:
    a call that it is given holds all that it refers to.
    """

    def __init__(
        self, objects: ObjectTable, actors: Mapping[ActorId, InlineActor], limits: Limits
    ) -> None:
        self._objects = objects
        self._actors = actors
        self._limits = limits
        # By target. Two threads may load the same code at once; either's will do.
        self._code: dict[int, Any] = {}

    def prepare(
        self, spec: TaskSpec
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | Outcome:
        """Return what is to be called, or the failure that keeps it from being called."""
        target = spec.target
        for _, object_id in spec.dependencies:
            stored = self._objects.get(object_id)
            if stored is not None and stored.outcome.kind is Kind.FAILED:
                stored.was_read = True
                return Outcome(Kind.FAILED, add_needed_by(stored.outcome.data, target.name))
        actor = self._actors.get(spec.actor)
        if actor is not None and actor.failure:
            stored = self._objects.get(spec.actor)
            if stored is not None:
                stored.was_read = True
            return Outcome(Kind.FAILED, add_needed_by(actor.failure, target.name))
        if spec.actor and (actor is None or actor.how_it_died):
            return failed(died(target.name, actor))
        if (late := self._limits.lateness(spec)) is not None:
            return failed(late)
        if is_stack_nearly_full():
            error = RecursionError("tasks inside tasks, too deep to run them all in one thread")
            return self._raised(spec, error)
        try:
            function = self._function_of(spec)
            values = [(place, self._load(object_id)) for place, object_id in spec.dependencies]
            args, kwargs = unpack_arguments(spec.payload, values)
            function = _with_options(function, spec, self._limits.deadline_of(spec.id))
        except FlameError as error:  # a ref of an ended session among them
            return failed(error)
        except (Exception, SystemExit, GeneratorExit) as error:
            return failed(cannot_rebuild(f"the call of {target.name}()", "worker", error))
        self._limits.began(spec)
        return function, args, kwargs

    def forget(self, target_ids: Iterable[int]) -> list[Any]:
        """Take out code that nobody can call any more. Runs none: it dies with what is returned."""
        return [self._code.pop(target_id) for target_id in target_ids if target_id in self._code]

    def conclude(self, spec: TaskSpec, succeeded: bool, value: Any) -> Content:
        """Return what is to be kept of how a call ended; a list if that is several objects."""
        if not succeeded:
            return self._exited(spec, value) or self._raised(spec, value)
        if spec.target.kind is TargetKind.ACTOR:
            made = self._actors.get(spec.id)
            if made is None or made.how_it_died:  # by its own constructor
                return failed(died(spec.target.name, made))
            made.move_in(value)
            return Outcome(Kind.ATOM, None)
        actor = self._actors.get(spec.actor)
        try:
            owner = actor.instance if actor is not None else None
            function = self._code.get(spec.target.id) or getattr(owner, spec.target.method, None)
            if isinstance(value, Several):
                if value.error is not None:
                    return failed(value.error)
                return [pack_result(one, spec.target.name, function) for one in value.values]
            return pack_result(value, spec.target.name, function)
        except SerializationError as error:
            return failed(error)

    def _exited(self, spec: TaskSpec, error: BaseException) -> Outcome | None:
        """Return how a call ended that has ended its actor by itself; None if it has not."""
        actor = self._actors.get(spec.actor)
        if actor is None or not (how := how_it_exits(error, actor.instance)):
            return None
        actor.exits = how
        if isinstance(error, ActorExit):
            return Outcome(Kind.ATOM, None)
        return failed(ActorDiedError(actor.name, how))

    def _raised(self, spec: TaskSpec, error: BaseException) -> Outcome:
        data = encode_failure(error, spec.target.name, spec.id, os.getpid())
        return Outcome(Kind.FAILED, data)

    def _function_of(self, spec: TaskSpec) -> Any:
        if spec.actor:
            actor = self._actors[spec.actor]
            return actor.iterations.find(actor.instance, spec.target.method)
        code = self._code.get(spec.target.id)
        if code is None:
            code = self._code[spec.target.id] = unpack(spec.target.code)
        return code

    def _load(self, object_id: ObjectId) -> Any:
        stored = self._objects.get(object_id)
        assert stored is not None, "a call holds what it takes"
        return stored.load()


def _with_options(
    function: Callable[..., Any], spec: TaskSpec, deadline: float
) -> Callable[..., Any]:
    """Return what is called in place of a function, as the call's options ask."""
    inner = function.__wrapped__ if isinstance(function, Attempts) else function
    if spec.returns is not None:
        inner = TakenApart(inner, len(spec.returns), spec.target.name)
    return function.in_place(inner, deadline) if isinstance(function, Attempts) else inner


def parts_of(spec: TaskSpec, content: Content) -> Iterator[tuple[ObjectId, Packed | Outcome]]:
    """Yield what each of a call's objects is to be filled with, its own the last."""
    parts = spec.returns or ()
    if isinstance(content, list):
        yield from zip(parts, content, strict=True)
        content = Outcome(Kind.ATOM, None)
    else:
        yield from ((part, content) for part in parts)
    yield spec.id, content


def failed(error: FlameError) -> Outcome:
    """Return an error of the engine's own as the end of a call."""
    return Outcome(Kind.FAILED, encode_error(error))


def died(name: str, actor: InlineActor | None) -> ActorDiedError:
    """Return the error of a call on an actor that is no more; `name` is that of the method."""
    if actor is None:
        return ActorDiedError(name.rpartition(".")[0] or name, "nothing refers to it any more")
    return ActorDiedError(actor.name, actor.how_it_died)
