"""Applications, shown as a row, a card and JSON."""

from __future__ import annotations

from typing import Any, Final

from flame_remote._proto import types_pb2

from . import words
from .tables import card, items
from .values import json_type, name_of, optional

HEADS: Final = ("Name", "State", "Shim", "Tags", "Created", "Command")


def row(application: types_pb2.Application) -> tuple[str, ...]:
    """Return the cells of a line in a list."""
    spec, status = application.spec, application.status
    return (
        application.metadata.name,
        name_of(types_pb2.ApplicationState, status.state),
        name_of(types_pb2.Shim, spec.shim),
        ", ".join(spec.labels) or words.NOTHING,
        words.clock(status.creation_time),
        spec.command or words.NOTHING,
    )


def view(application: types_pb2.Application) -> str:
    """Return everything about an application, for people."""
    spec = application.spec
    text = card(
        [
            ("Name", application.metadata.name),
            ("Description", spec.description),
            ("Shim", name_of(types_pb2.Shim, spec.shim)),
            ("Image", spec.image),
            ("URL", spec.url),
            ("Installer", spec.installer),
            ("Labels", ""),
        ]
    )
    text += items(spec.labels)
    text += card([("Command", spec.command), ("Arguments", "")])
    text += items(spec.arguments)
    text += card([("Environments", "")])
    text += items(f"{variable.name}: {variable.value}" for variable in spec.environments)
    released = words.duration(spec.delay_release) if spec.HasField("delay_release") else "-"
    text += card(
        [
            ("WorkingDir", spec.working_directory),
            ("Max Instances", str(spec.max_instances)),
            ("Delay Release", released),
            ("Schema", ""),
        ]
    )
    if spec.HasField("schema"):
        schema = as_json(application)["schema"]
        text += items(
            (
                f"Input: {json_type(schema['input'])}",
                f"Output: {json_type(schema['output'])}",
                f"Common Data: {json_type(schema['common_data'])}",
            ),
            "  ",
        )
    return text


def as_json(application: types_pb2.Application) -> dict[str, Any]:
    """Return everything about an application, for programs."""
    spec, status = application.spec, application.status
    schema = None
    if spec.HasField("schema"):
        schema = {
            "input": optional(spec.schema, "input"),
            "output": optional(spec.schema, "output"),
            "common_data": optional(spec.schema, "common_data"),
        }
    return {
        "name": application.metadata.name,
        "state": name_of(types_pb2.ApplicationState, status.state),
        "created": words.timestamp(status.creation_time),
        "shim": name_of(types_pb2.Shim, spec.shim),
        "description": optional(spec, "description"),
        "labels": list(spec.labels),
        "image": optional(spec, "image"),
        "command": optional(spec, "command"),
        "arguments": list(spec.arguments),
        "environments": {variable.name: variable.value for variable in spec.environments},
        "working_directory": optional(spec, "working_directory"),
        "max_instances": optional(spec, "max_instances"),
        "delay_release_seconds": optional(spec, "delay_release"),
        "schema": schema,
        "url": optional(spec, "url"),
        "installer": optional(spec, "installer"),
    }
