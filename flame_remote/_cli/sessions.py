"""Sessions and their tasks, shown as rows, cards and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from flame_remote._proto import types_pb2

from . import words
from .tables import card, items, table
from .values import event_json, event_text, name_of, optional, resources_json, resources_text

HEADS: Final = (
    "ID",
    "State",
    "App",
    "Resources",
    "Priority",
    "Pending",
    "Running",
    "Succeed",
    "Failed",
    "Created",
)


def order(session: types_pb2.Session) -> tuple[int, int, str]:
    """Return the key that lists are sorted by: open ones first, then by age."""
    return session.status.state, session.status.creation_time, session.metadata.id


def row(session: types_pb2.Session) -> tuple[str, ...]:
    """Return the cells of a line in a list."""
    spec, status = session.spec, session.status
    return (
        session.metadata.id,
        name_of(types_pb2.SessionState, status.state),
        spec.application,
        _resources(spec),
        str(spec.priority),
        str(status.pending),
        str(status.running),
        str(status.succeed),
        str(status.failed),
        words.clock(status.creation_time),
    )


def view(session: types_pb2.Session) -> str:
    """Return what matters about a session, for people."""
    spec, status = session.spec, session.status
    counts = f"{status.pending} pending, {status.running} running, "
    counts += f"{status.succeed} succeed, {status.failed} failed"
    if status.cancelled:  # Flame's does not tell them
        counts += f", {status.cancelled} cancelled"
    text = table(
        (),
        [
            ("Session:", session.metadata.id),
            ("Application:", spec.application),
            ("State:", name_of(types_pb2.SessionState, status.state)),
            ("Resources:", _resources(spec)),
            ("Creation Time:", words.clock(status.creation_time)),
            ("Tasks:", counts),
        ],
    )
    return text + "Events:\n" + items(map(event_text, status.events), "  ")


def as_json(
    session: types_pb2.Session, tasks: Iterable[types_pb2.Task] | None = None
) -> dict[str, Any]:
    """Return everything about a session for programs, with its tasks if they are given."""
    spec, status = session.spec, session.status
    values: dict[str, Any] = {
        "id": session.metadata.id,
        "application": spec.application,
        "state": name_of(types_pb2.SessionState, status.state),
        "resources": resources_json(spec.resreq) if spec.HasField("resreq") else None,
        "priority": spec.priority,
        "min_instances": spec.min_instances,
        "max_instances": optional(spec, "max_instances"),
        "common_data_bytes": _size(spec, "common_data"),
        "created": words.timestamp(status.creation_time),
        "completed": _completed(status),
        "task_counts": {
            "pending": status.pending,
            "running": status.running,
            "succeed": status.succeed,
            "failed": status.failed,
            "cancelled": status.cancelled,
        },
        "events": [event_json(event) for event in status.events],
    }
    if tasks is not None:
        values["tasks"] = [task_as_json(task) for task in sorted(tasks, key=_task_order)]
    return values


def view_task(task: types_pb2.Task, application: str) -> str:
    """Return what matters about a task, for people."""
    text = card(
        [
            ("Task", task.metadata.id),
            ("Session", task.spec.session_id),
            ("Application", application),
            ("State", name_of(types_pb2.TaskState, task.status.state)),
            ("Events", ""),
        ]
    )
    return text + items(map(event_text, task.status.events), "  ")


def task_as_json(task: types_pb2.Task) -> dict[str, Any]:
    """Return everything about a task for programs, but what goes in and comes out: their sizes."""
    return {
        "id": task.metadata.id,
        "session": task.spec.session_id,
        "state": name_of(types_pb2.TaskState, task.status.state),
        "created": words.timestamp(task.status.creation_time),
        "completed": _completed(task.status),
        "input_bytes": _size(task.spec, "input"),
        "output_bytes": _size(task.spec, "output"),
        "events": [event_json(event) for event in task.status.events],
    }


def _task_order(task: types_pb2.Task) -> tuple[int, str]:
    name = task.metadata.id
    return (int(name) if name.isdecimal() else 0), name


def _resources(spec: types_pb2.SessionSpec) -> str:
    return resources_text(spec.resreq) if spec.HasField("resreq") else words.NOTHING


def _completed(status: types_pb2.SessionStatus | types_pb2.TaskStatus) -> str | None:
    """Return when it ended; 0 as well as unset means that it has not."""
    return words.timestamp(status.completion_time) if status.completion_time else None


def _size(message: Any, field: str) -> int | None:
    value = optional(message, field)
    return None if value is None else len(value)
