"""The applications that every cluster has: flmrun, flmexec and flmping."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from flame_remote._proto import types_pb2

_EXEC_INPUT: Final = {
    "type": "object",
    "properties": {
        "language": {"type": "string", "enum": ["python", "shell"]},
        "runtime": {"type": ["string", "null"]},
        "code": {"type": "string"},
        "input": {"type": ["array", "null"], "items": {"type": "integer"}},
    },
    "required": ["language", "code"],
}
_EXEC_OUTPUT: Final = {
    "type": "object",
    "properties": {"data": {"type": "array", "items": {"type": "integer"}}},
}
_PING_INPUT: Final = {
    "type": "object",
    "properties": {
        "duration": {"type": ["integer", "null"], "description": "milliseconds to sleep"},
        "memory": {"type": ["integer", "null"], "description": "bytes to allocate"},
    },
}
_PING_OUTPUT: Final = {"type": "object", "properties": {"message": {"type": "string"}}}


def default_applications() -> dict[str, types_pb2.ApplicationSpec]:
    """Return the specs by name. $FLAME_HOME/bin is filled by `home`."""
    return {
        "flmrun": types_pb2.ApplicationSpec(
            description="Runs Python functions, classes and instances",
            command="${FLAME_HOME}/bin/uv",
            arguments=[
                *("run", "--python", "python${FLAME_PYTHON_VERSION}", "python"),
                *("-m", "flamepy.runner.runpy"),
            ],
            installer="python",
        ),
        "flmexec": types_pb2.ApplicationSpec(
            description="Runs Python and shell scripts",
            command="${FLAME_HOME}/bin/flmexec-service",
            schema=_schema(_EXEC_INPUT, _EXEC_OUTPUT),
        ),
        "flmping": types_pb2.ApplicationSpec(
            description="Answers, after a while if asked to",
            command="${FLAME_HOME}/bin/flmping-service",
            schema=_schema(_PING_INPUT, _PING_OUTPUT),
        ),
    }


def _schema(
    given: Mapping[str, object], returned: Mapping[str, object]
) -> types_pb2.ApplicationSchema:
    return types_pb2.ApplicationSchema(input=json.dumps(given), output=json.dumps(returned))
