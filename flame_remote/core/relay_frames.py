"""What a forked process and the process that calls the cluster for it say to each other.

A frame is its length (u32, little-endian) and a pickle of one of the classes below. Both ends are
ours, and the socket between them has no name: nobody else can write to it.
"""

from __future__ import annotations

import asyncio
import io
import pickle
import struct
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from flame_remote._proto import frontend_pb2, types_pb2

from .context import FlameContext

_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Start:
    """The first frame: which cluster, and how patient to be, in seconds."""

    context: FlameContext
    connect_timeout: float
    reconnect_timeout: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Do something; `number` is chosen by who asks. `seconds` None asks for a stream."""

    number: int
    method: str
    request: Any
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Wait for a server that has gone."""

    number: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody waits for this any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Item:
    """A message that came: the answer of a call, or the next of a stream."""

    number: int
    message: Any


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more comes; `error` says why if it should."""

    number: int
    error: Exception | None = None


class _Pickler(pickle.Pickler):
    """Pickles Flame's messages too: their generated classes are not where they say they are."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Message):
            return _message, (obj.DESCRIPTOR.name, obj.SerializeToString())
        return NotImplemented


def _message(name: str, data: bytes) -> Any:
    """Make a message of Flame's from its bytes."""
    module = frontend_pb2 if hasattr(frontend_pb2, name) else types_pb2
    return getattr(module, name).FromString(data)


def write_frame(writer: asyncio.StreamWriter, frame: object) -> None:
    """Hand a frame to a stream."""
    data = io.BytesIO()
    _Pickler(data, pickle.HIGHEST_PROTOCOL).dump(frame)
    writer.write(_LENGTH.pack(len(data.getvalue())) + data.getvalue())


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """Return the next frame; None at the end of the stream."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return pickle.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
