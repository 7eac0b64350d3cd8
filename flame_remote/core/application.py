"""An application of a cluster: what its instances run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from .times import from_milliseconds

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from flame_remote._proto import types_pb2


class Shim(IntEnum):
    """Which kind of executor runs an application."""

    HOST = 0  # a process
    WASM = 1  # a WebAssembly component


class ApplicationState(IntEnum):
    """Whether sessions of an application can be created."""

    ENABLED = 0
    DISABLED = 1


@dataclass(frozen=True, slots=True)
class ApplicationSchema:
    """JSON Schema documents of what goes into an application's tasks and what comes out."""

    input: str | None = None
    output: str | None = None
    common_data: str | None = None


@dataclass(frozen=True, slots=True)
class ApplicationAttributes:
    """What an application is registered with; what is None is left to the cluster.

    `command`, `arguments` and `environments` are those of the process that is one instance; the
    cluster replaces `${NAME}` in them. `working_directory` is absolute, on the executor's machine.
    `delay_release` is how many seconds an idle instance is kept. `url` is where the package is,
    `installer` how it is installed ("python", "binary").
    """

    shim: Shim | None = None
    image: str | None = None
    description: str | None = None
    labels: Sequence[str] | None = None
    command: str | None = None
    arguments: Sequence[str] | None = None
    environments: Mapping[str, str] | None = None
    working_directory: str | None = None
    max_instances: int | None = None
    delay_release: int | None = None
    schema: ApplicationSchema | None = None
    url: str | None = None
    installer: str | None = None

    def to_proto(self) -> types_pb2.ApplicationSpec:
        """Return Flame's message."""
        from flame_remote._proto import types_pb2

        return types_pb2.ApplicationSpec(
            shim=types_pb2.Shim.Name(self.shim or Shim.HOST),
            image=self.image,
            description=self.description,
            labels=self.labels or (),
            command=self.command,
            arguments=self.arguments or (),
            environments=[
                types_pb2.Environment(name=name, value=value)
                for name, value in (self.environments or {}).items()
            ],
            working_directory=self.working_directory,
            max_instances=self.max_instances,
            delay_release=self.delay_release,
            schema=self._schema_to_proto(),
            url=self.url,
            installer=self.installer,
        )

    def _schema_to_proto(self) -> types_pb2.ApplicationSchema | None:
        """Return the message of the schema, None if all of its parts are blank."""
        from flame_remote._proto import types_pb2

        if self.schema is None:
            return None
        parts = {
            part.name: text
            for part in fields(self.schema)
            if (text := getattr(self.schema, part.name)) and text.strip()
        }
        return types_pb2.ApplicationSchema(**parts) if parts else None


@dataclass(frozen=True, slots=True)
class Application:
    """An application as the cluster has it; `id` and `name` are equal."""

    id: str
    name: str
    state: ApplicationState
    creation_time: datetime
    shim: Shim = Shim.HOST
    image: str | None = None
    description: str | None = None
    labels: tuple[str, ...] = ()
    command: str | None = None
    arguments: tuple[str, ...] = ()
    environments: Mapping[str, str] = field(default_factory=dict)
    working_directory: str | None = None
    max_instances: int | None = None
    delay_release: int | None = None
    schema: ApplicationSchema | None = None
    url: str | None = None
    installer: str | None = None

    @classmethod
    def from_proto(cls, message: types_pb2.Application) -> Application:
        """Take an application from Flame's message."""
        spec = message.spec
        schema = None
        if spec.HasField("schema"):
            parts = ("input", "output", "common_data")
            schema = ApplicationSchema(**{part: _given(spec.schema, part) for part in parts})
        return cls(
            id=message.metadata.id,
            name=message.metadata.name,
            state=ApplicationState(message.status.state),
            creation_time=from_milliseconds(message.status.creation_time),
            shim=Shim(spec.shim),
            image=_given(spec, "image"),
            description=_given(spec, "description"),
            labels=tuple(spec.labels),
            command=_given(spec, "command"),
            arguments=tuple(spec.arguments),
            environments={variable.name: variable.value for variable in spec.environments},
            working_directory=_given(spec, "working_directory"),
            max_instances=_given(spec, "max_instances"),
            delay_release=_given(spec, "delay_release"),
            schema=schema,
            url=_given(spec, "url"),
            installer=_given(spec, "installer"),
        )

    @property
    def attributes(self) -> ApplicationAttributes:
        """What another application would be registered with, to be the same."""
        names = [attribute.name for attribute in fields(ApplicationAttributes)]
        return ApplicationAttributes(**{name: getattr(self, name) for name in names})


def _given(message: Message, name: str) -> Any:
    """Return an optional field, None if it is not set."""
    return getattr(message, name) if message.HasField(name) else None
