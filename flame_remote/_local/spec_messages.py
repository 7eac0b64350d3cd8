"""Calls and their targets on the way from a task to the driver: specs as messages, and back."""

from __future__ import annotations

from collections import deque
from dataclasses import astuple

from flame_remote._environment import Environment
from flame_remote._ids import ObjectId
from flame_remote._spec import (
    MORTAL,
    UNLIMITED,
    CallLimits,
    Demand,
    Restarts,
    Target,
    TargetKind,
    TaskSpec,
)

from .messages import ExportTarget, Submit


def export_message(target: Target) -> ExportTarget:
    """Return what tells the driver of code that calls will name."""
    return ExportTarget(
        target.id,
        target.kind.value,
        target.name,
        target.code,
        tuple(target.demand),
        target.max_retries,
        target.max_concurrency,
        target.method,
        tuple(ref._id for ref in target.refs),
        () if target.limits is UNLIMITED else astuple(target.limits),
        None if target.environment is None else astuple(target.environment),
        () if target.restarts is MORTAL else astuple(target.restarts),
        target.max_task_retries,
        target.groups,
        target.group,
    )


def exported_target(message: ExportTarget, events: deque[int]) -> Target:
    """Return the target that a worker tells of; it says in `events` that it is there."""
    return Target(
        message.target_id,
        TargetKind(message.kind),
        message.name,
        message.code,
        Demand(message.demand),
        message.max_retries,
        message.max_concurrency,
        message.method,
        tuple(_HeldRef(object_id) for object_id in message.refs),  # type: ignore[misc]
        limits=CallLimits(*message.limits) if message.limits else UNLIMITED,
        environment=None if message.environment is None else Environment(*message.environment),
        restarts=Restarts(*message.restarts) if message.restarts else MORTAL,
        max_task_retries=message.max_task_retries,
        groups=message.groups,
        group=message.group,
        events=events,
    )


def submit_message(spec: TaskSpec) -> Submit:
    """Return what tells the driver of a call, whose target it knows."""
    return Submit(
        spec.id,
        spec.target.id,
        spec.payload,
        spec.dependencies,
        spec.nested,
        spec.actor,
        spec.parent,
        spec.returns,
    )


def submitted_call(message: Submit, target: Target) -> TaskSpec:
    """Return the call that a worker tells of."""
    return TaskSpec(
        message.task_id,
        target,
        message.payload,
        message.dependencies,
        message.nested,
        message.actor,
        message.parent,
        message.returns,
    )


class _HeldRef:
    """The id of an object that a worker's target holds; looks like a ref, counts nothing itself."""

    __slots__ = ("_id",)

    def __init__(self, object_id: ObjectId) -> None:
        self._id = object_id
