"""How calls of a service reach the engine: as calls of a function, or on instances."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flame_remote._actor_facts import MethodFacts
from flame_remote._options import ActorOptions, TaskOptions
from flame_remote._refs import ObjectRef
from flame_remote._spec import ServicePolicy, Target, TargetKind
from flame_remote.engine import Engine

from .handles import Backend
from .hosting import StatefulHost
from .instances import CALL_ITSELF, Instance, Instances, StatefulInstance, targets_of
from .policy import Policy
from .service import FunctionService
from .source import Source, export, export_maker
from .subject import Subject, SubjectKind
from .target import target_of


class FunctionBackend:
    """A function whose calls may run in any worker that the engine chooses."""

    def __init__(self, engine: Engine, subject: Subject, wish: ServicePolicy) -> None:
        """Export the function and tell the engine."""
        self.engine = engine
        source = Source(subject.value, subject.name, subject.signature)
        self._service = FunctionService(engine, source, _task_options(engine, wish), wish)
        engine.open_service(self._service.target)
        # Kept until they have ended.
        self._warm = [] if engine.cluster else _warm(engine, self._service.target, wish)

    def submit(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ObjectRef[Any]:
        return self._service.submit(args, kwargs)

    def close(self) -> None:
        self._warm.clear()
        self.engine.close_service(self._service.target)

    def abandon(self) -> None:
        self._warm.clear()


class InstanceBackend:
    """Instances, each in a worker of its own."""

    def __init__(self, engine: Engine, instances: Instances) -> None:
        self.engine = engine
        self._instances = instances

    def submit(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ObjectRef[Any]:
        return self._instances.submit(method or CALL_ITSELF, args, kwargs)

    def close(self) -> None:
        self._instances.close()

    abandon = close


def make_backend(engine: Engine, subject: Subject, policy: Policy, wish: ServicePolicy) -> Backend:
    """Bind a subject to an engine; `wish` is the policy in the engine's words.

    Raises:
        SerializationError: the subject holds something that cannot travel.
        UnschedulableError: the engine can never meet the resources.
        ClusterError: the cluster refuses the service.
    """
    if wish.resources is not None:
        cpus, _, gpus = wish.resources
        engine.check_demand(subject.name, {"CPU": cpus, "GPU": gpus})
    is_function = subject.kind is SubjectKind.FUNCTION
    if is_function and (policy.autoscale or engine.cluster is not None):
        return FunctionBackend(engine, subject, wish)
    if policy.stateful:
        return InstanceBackend(engine, _stateful_instances(engine, subject, wish))
    return InstanceBackend(engine, _plain_instances(engine, subject, policy, wish))


def _plain_instances(
    engine: Engine, subject: Subject, policy: Policy, wish: ServicePolicy
) -> Instances:
    value, is_instance = subject.value, subject.kind is SubjectKind.INSTANCE
    if subject.kind is SubjectKind.CLASS:
        exported = export(value)
    else:
        exported = export_maker(value, subject.article, is_code=not is_instance)
    target = _actor_target(engine, subject, exported, wish)
    methods = dict(subject.methods)
    if subject.kind is SubjectKind.FUNCTION:
        methods[CALL_ITSELF] = MethodFacts(None, subject.signature)
    fewest, most = policy.min_instances, policy.max_instances
    if most is None:
        cpus = engine.resources().get("CPU", 1.0)
        most = max(1, fewest, int(cpus // (_cpus_of(wish) or 1)))
    targets = targets_of(engine, target)
    return Instances(lambda target: Instance(engine, target, methods), targets, fewest, most)


def _stateful_instances(engine: Engine, subject: Subject, wish: ServicePolicy) -> Instances:
    code, refs = export_maker(subject.value, subject.article, is_code=False)
    host, _ = export(StatefulHost)
    target = _actor_target(engine, subject, (host, refs), wish)
    return Instances(
        lambda target: StatefulInstance(engine, target, subject.methods, code),
        targets_of(engine, target),
        fewest=1,
        most=1,
    )


def _actor_target(
    engine: Engine, subject: Subject, exported: tuple[bytes, Any], wish: ServicePolicy
) -> Target:
    if wish.resources is None or engine.cluster is not None:
        options = ActorOptions()
    else:  # no CPUs are taken: an instance that waits for calls needs none
        options = ActorOptions(num_gpus=wish.resources[2])
    return target_of(engine, subject.name, exported, options, TargetKind.ACTOR, 1, wish)


def _task_options(engine: Engine, wish: ServicePolicy) -> TaskOptions:
    if wish.resources is None or engine.cluster is not None:
        return TaskOptions()
    return TaskOptions(num_cpus=_cpus_of(wish) or 1, num_gpus=wish.resources[2])


def _cpus_of(wish: ServicePolicy) -> int:
    return 0 if wish.resources is None else wish.resources[0]


# --- warm-up --------------------------------------------------------------------------------------


def _warm(engine: Engine, target: Target, wish: ServicePolicy) -> list[ObjectRef[Any]]:
    """Have workers load the function, as many as there are to be instances from the start."""
    if not wish.min_instances:
        return []
    source = Source.of(_load)
    loading = FunctionService(engine, source, _task_options(engine, wish))
    return [loading.submit((target.code,), {}) for _ in range(wish.min_instances)]


def _load(code: bytes) -> None:
    """Import what a function needs. What goes wrong here goes wrong in its calls, and is told."""
    with suppress(Exception):
        pickle.loads(code)
