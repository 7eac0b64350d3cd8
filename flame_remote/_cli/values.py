"""Fields of Flame's messages, as the command lines show them."""

from __future__ import annotations

import json
from typing import Any

from flame_remote._proto import types_pb2

from . import words


def name_of(enumeration: Any, number: int) -> str:
    """Return the name of a state or kind, without its prefix; the number where it has none."""
    try:
        name: str = enumeration.Name(number)
    except ValueError:  # of a newer cluster
        return str(number)
    return name.removeprefix("Executor")


def optional(message: Any, field: str) -> Any:
    """Return a field's value, None if it is not set."""
    return getattr(message, field) if message.HasField(field) else None


def resources_text(needed: types_pb2.ResourceRequirement) -> str:
    """Show a requirement in one word, which `create --resreq` takes."""
    return words.resources(needed.cpu, needed.memory, needed.gpu)


def resources_json(needed: types_pb2.ResourceRequirement) -> dict[str, int]:
    """Return a requirement for programs."""
    return {"cpu": needed.cpu, "memory_bytes": needed.memory, "gpu": needed.gpu}


def event_text(event: types_pb2.Event) -> str:
    """Show something that happened to a session or a task."""
    return f"{words.exact_clock(event.creation_time)}: {event.message} ({event.code})"


def event_json(event: types_pb2.Event) -> dict[str, Any]:
    """Return something that happened, for programs."""
    return {
        "code": event.code,
        "message": optional(event, "message"),
        "time": words.timestamp(event.creation_time),
    }


def json_type(schema: str | None) -> str:
    """Return the type that a JSON Schema document names, "-" if there is none."""
    if schema is None:
        return words.NOTHING
    try:
        kind = json.loads(schema)["type"]
    except (ValueError, TypeError, KeyError):
        return words.NOTHING
    return kind if isinstance(kind, str) else json.dumps(kind)
