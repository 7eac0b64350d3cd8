"""A target bound to an engine: packs the arguments of each call and hands it to the engine."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from flame_remote._options import ActorOptions, MethodOptions, TaskOptions
from flame_remote._refs import ObjectRef
from flame_remote._signature import CallSignature
from flame_remote._spec import (
    MORTAL,
    UNLIMITED,
    Naming,
    Restarts,
    ServicePolicy,
    Target,
    TargetKind,
    TaskSpec,
)
from flame_remote._wire.arguments import ALL, pack_arguments
from flame_remote._wire.packing import NUMBERS, Packed
from flame_remote.engine import Engine
from flame_remote.exceptions import InvalidOptionError, SessionEndedError

from .source import Source, by_name, export
from .target import method_target, restarts_of, target_of

if TYPE_CHECKING:
    from .repeated import RepeatedArguments

_are_numbers = NUMBERS.issuperset


class Service:
    """A target bound to an engine. Constant after construction; safe to call from any thread."""

    __slots__ = (
        "__weakref__",
        "_current_task",
        "_engine_submit",
        "_new_id",
        "_signature",
        "engine",
        "target",
    )

    def __init__(self, engine: Engine, target: Target, signature: CallSignature | None) -> None:
        self.engine = engine
        self.target = target
        self._signature = signature  # names the arguments in errors
        # Looked up once: each saves a twentieth of a microsecond per call.
        self._new_id = engine.new_id
        self._current_task = engine.current_parent
        self._engine_submit: Callable[[TaskSpec], ObjectRef[Any]] = engine.submit

    def submit(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ObjectRef[Any]:
        """Hand one call to the engine. Returns at once, with the ref of what it will return.

        With `num_returns` other than 1 that is a list of refs, or None for 0.

        Args:
            args: positional arguments; a ref stands for its value.
            kwargs: keyword arguments; a ref stands for its value.

        Raises:
            SerializationError: an argument cannot travel; nothing was queued.
            SessionEndedError: a ref among the arguments is of another session.
            EngineClosedError: the engine was closed.
        """
        # The common call pays for nothing else (benchmarks: submit of no-op tasks).
        if not kwargs and _are_numbers(map(type, args)):
            spec = TaskSpec(self._new_id(), self.target, args, (), (), 0, self._current_task())
            return self._engine_submit(spec)
        return self._submit_packed(args, kwargs, 0)

    def _submit_packed(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        actor: int,
        submit: Callable[[TaskSpec], ObjectRef[Any]] | None = None,
    ) -> ObjectRef[Any]:
        parameters = () if self._signature is None else self._signature.positional
        arguments = pack_arguments(args, kwargs, self.target.name, parameters)
        engine = self.engine
        taken_out = None  # holds large arguments until they are counted
        if isinstance(arguments.payload, Packed):
            taken_out = _repeated_of(engine).take_out(engine, args, kwargs, arguments.payload)
            if taken_out is not None:
                args, kwargs, _ = taken_out
                arguments = pack_arguments(args, kwargs, self.target.name, parameters)
        for _, ref in arguments.dependencies:
            if ref._engine is not engine:
                raise SessionEndedError(f"an argument of {self.target.name}()")
        for ref in arguments.nested:
            if ref._engine is not engine:
                raise SessionEndedError(f"a ref inside the arguments of {self.target.name}()")
        payload = arguments.payload
        dependencies = tuple((place, ref._id) for place, ref in arguments.dependencies)
        nested = tuple(ref._id for ref in arguments.nested)
        if isinstance(payload, Packed):
            # `stored` is held until the engine has counted it as a dependency; it holds the nested
            # refs from now on.
            stored = engine.put(payload)
            payload, dependencies, nested = (), ((ALL, stored._id), *dependencies), ()
        task = self._current_task()
        # `arguments` holds the refs until submit has counted them.
        return (submit or self._engine_submit)(
            TaskSpec(self._new_id(), self.target, payload, dependencies, nested, actor, task)
        )


_repeated: weakref.WeakKeyDictionary[Engine, RepeatedArguments] = weakref.WeakKeyDictionary()


def _repeated_of(engine: Engine) -> RepeatedArguments:
    from .repeated import RepeatedArguments  # not needed before an argument is large

    found = _repeated.get(engine)
    return _repeated.setdefault(engine, RepeatedArguments()) if found is None else found


def returning(engine: Engine, count: int) -> Callable[[TaskSpec], ObjectRef[Any]]:
    """Return what hands calls to the engine in place of `Engine.submit`, as `num_returns` asks.

    It returns the ref of a call's value; else a list of as many refs as that has parts, or None,
    which the type does not say: whoever sets the option knows.
    """
    if count == 1:
        return engine.submit
    return cast("Callable[[TaskSpec], ObjectRef[Any]]", partial(_submit_several, engine, count))


def _submit_several(engine: Engine, count: int, spec: TaskSpec) -> list[ObjectRef[Any]] | None:
    returns = tuple(engine.new_id() for _ in range(count))
    return engine.submit_several(replace(spec, returns=returns)) or None


class FunctionService(Service):
    """A function bound to an engine; each call may run anywhere."""

    __slots__ = ()

    def __init__(
        self,
        engine: Engine,
        source: Source,
        options: TaskOptions,
        policy: ServicePolicy | None = None,
    ) -> None:
        """Export the function; `policy` is that of a Runner.

        Raises:
            SerializationError: the function uses something that cannot travel.
            UnschedulableError: the engine can never meet the options.
        """
        value, retry = source.value, options.retry()
        if retry is not None:
            from flame_remote._execute.attempts import Attempts  # few functions are tried again

            value = Attempts(value, retry, source.name, by_name(value))
        code = export(value)
        target = target_of(engine, source.name, code, options, TargetKind.FUNCTION, 1, policy)
        super().__init__(engine, target, source.signature)
        self._engine_submit = returning(engine, options.num_returns)


class ActorService(Service):
    """A class bound to an engine; each call constructs one instance and returns its ref."""

    __slots__ = ()

    def __init__(self, engine: Engine, source: Source, options: ActorOptions) -> None:
        """Export the class.

        Raises:
            SerializationError: the class uses something that cannot travel.
            UnschedulableError: the engine can never meet the options.
        """
        concurrency = options.max_concurrency or 1
        restarts = restarts_of(cast(type, source.value), options)
        if restarts is not MORTAL:
            engine.check_restarts(source.name, restarts)
        if options.concurrency_groups:
            if not engine.has_groups:
                raise InvalidOptionError(
                    f"{options.name or source.name} cannot have concurrency_groups on a Flame "
                    "cluster: its calls have one limit there, max_concurrency; or use "
                    'flame.init("embedded")'
                )
            concurrency += sum(limit for _, limit in options.concurrency_groups)
        code = export(source.value)
        target = target_of(
            engine, source.name, code, options, TargetKind.ACTOR, concurrency, restarts=restarts
        )
        super().__init__(engine, target, source.signature)

    def submit_named(
        self, naming: Naming, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ObjectRef[Any]:
        """As `submit`, of an instance that has a name. Raises ActorAlreadyExistsError too."""
        return self._submit_packed(
            args, kwargs, 0, partial(self.engine.submit_named, naming=naming)
        )


class MethodService(Service):
    """A method of one instance; holds the instance's ref, and with it the instance."""

    __slots__ = ("_instance",)

    def __init__(
        self,
        instance: ObjectRef[Any],
        actor_name: str,
        method: str,
        signature: CallSignature | None,
        options: MethodOptions,
    ) -> None:
        limits = options.limits()
        if limits is not UNLIMITED:
            instance._engine.check_limits(f"{actor_name}.{method}", limits)
        retries = options.max_task_retries
        if retries:
            instance._engine.check_restarts(f"{actor_name}.{method}", Restarts(0, retries))
        name = options.name or f"{actor_name}.{method}"
        target = method_target(name, method, limits, retries, options.concurrency_group)
        super().__init__(instance._engine, target, signature)
        self._engine_submit = returning(instance._engine, options.num_returns)
        self._instance = instance

    def submit(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ObjectRef[Any]:
        """Hand one call to the engine; as in Service."""
        actor = self._instance._id
        if not kwargs and _are_numbers(map(type, args)):
            spec = TaskSpec(self._new_id(), self.target, args, (), (), actor, self._current_task())
            return self._engine_submit(spec)
        return self._submit_packed(args, kwargs, actor)
